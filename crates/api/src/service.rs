//! The local service: which router answers on which listener, and on which runtime.

use crate::Context;
use crate::answer::{Prefix, Refused, panicked, render_public_refusals, render_refusals};
use crate::{admin, documents, health, oauth, problems, well_known};
use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use countersign_gateway::local::{LocalFuture, LocalRequest, LocalService};
use countersign_model::ReasonCode;
use countersign_oauth::metadata::TOKEN_PATH;
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use tokio::runtime::Handle;
use tower::ServiceExt;

/// Answers the reserved paths of the listeners, and everything on the admin listener.
pub struct Service {
    context: Arc<Context>,
    public: Router,
    admin: Router,
    admin_listener: String,
    control: Handle,
}

impl Service {
    /// The service whose administrative side answers on the listener named `admin_listener`. `control` is the runtime
    /// for everything that may take long: signing certificates, storage, reading the audit log.
    pub fn new(context: Arc<Context>, admin_listener: &str, control: Handle) -> Self {
        let public = Router::new()
            .merge(oauth::router())
            .merge(well_known::router())
            .merge(problems::router())
            .merge(documents::router())
            .fallback(|| async { Refused::from(ReasonCode::RouteNotFound) })
            .with_state(context.clone())
            .layer(from_fn_with_state(context.clone(), render_public_refusals));
        let (admin, _) = admin::router(&context);
        let health = health::router()
            .with_state(context.clone())
            .layer(from_fn_with_state(context.clone(), render_refusals));
        let admin = Router::new().merge(health).merge(admin);
        Self { context, public, admin, admin_listener: admin_listener.to_owned(), control }
    }
}

impl LocalService for Service {
    fn call(&self, local: LocalRequest) -> LocalFuture {
        let LocalRequest { request, peer, listener, prefix } = local;
        let context = self.context.clone();
        let on_admin_listener = *listener == *self.admin_listener;
        // The one endpoint here that is called by the ten thousand: straight to its handler, not through a router, whose
        // layers and routes are boxed futures (measured: 1.4 µs of 34 for a token).
        if !on_admin_listener && request.uri().path() == TOKEN_PATH {
            return Box::pin(async move {
                let response = oauth::token(&context, &peer, prefix, request).await;
                response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
            });
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Prefix(prefix));
        if on_admin_listener {
            // Nothing administrative runs on a worker of the data path.
            let answer = self.control.spawn(self.admin.clone().oneshot(request));
            return Box::pin(async move {
                match answer.await {
                    Ok(Ok(response)) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
                    Ok(Err(never)) => match never {},
                    Err(error) => {
                        tracing::error!(%error, "a handler of the admin API panicked");
                        panicked(&context).map(|body| body.map_err(Into::into).boxed_unsync())
                    }
                }
            });
        }
        let answer = self.public.clone().oneshot(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
                Err(never) => match never {},
            }
        })
    }
}
