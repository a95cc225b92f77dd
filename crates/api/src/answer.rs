//! Refusals of the control endpoints: handlers return [`Refused`], [`render_refusals`] turns it into a response and
//! records it. One place, so that no endpoint answers a refusal in its own words or forgets to record it.

use crate::Context;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ReasonCode, Reference};
use countersign_policy::denial::{Surface, render};
use countersign_policy::{Denial, Peer};
use countersign_storage::StorageError;
use std::sync::{Arc, OnceLock};

/// A call of a control endpoint: its reference, and who turned out to make it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Finds its records.
    pub reference: Reference,
    actor: Arc<OnceLock<Actor>>,
}

impl Call {
    fn new(reference: Reference) -> Self {
        Self { reference, actor: Arc::default() }
    }

    /// Who makes it.
    pub fn actor(&self) -> Actor {
        self.actor.get().cloned().unwrap_or(Actor::Anonymous)
    }

    /// Says who makes it; the first word stays.
    pub fn identify(&self, actor: Actor) {
        let _ = self.actor.set(actor);
    }
}

/// A refusal on its way from a handler to [`render_refusals`].
#[derive(Debug, Clone)]
pub struct Refused(pub Denial);

impl<T: Into<Denial>> From<T> for Refused {
    fn from(denial: T) -> Self {
        Self(denial.into())
    }
}

impl Refused {
    /// A refusal because storage failed: its text is for the operator.
    pub fn storage(error: &StorageError) -> Self {
        Self(Denial::new(error.reason()).note(error.to_string()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// Outermost layer of the admin router: gives the call its reference, and turns a [`Refused`] into its response.
pub async fn render_refusals(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    let call = Call::new(context.reference());
    request.extensions_mut().insert(call.clone());
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(256).collect();
    let source = request.extensions().get::<Peer>().map(|peer| peer.address().ip());
    let mut response = next.run(request).await;

    // axum's own refusals (no such path, no such method) take the same way as ours.
    let refused =
        response.extensions_mut().remove::<Refused>().or_else(|| match response.status().as_u16() {
            404 => Some(Denial::new(ReasonCode::ObjectNotFound).note("no such path").into()),
            405 => Some(Denial::new(ReasonCode::MethodNotAllowed).into()),
            _ => None,
        });
    let Some(Refused(denial)) = refused else { return response };
    let facts = Facts {
        client: denial.known_client().cloned(),
        source,
        method: Some(method.to_string()),
        path: Some(path),
        detail: denial.operator_note().map(str::to_owned),
        ..Facts::default()
    };
    let now = context.clock.now();
    let event = AuditEvent::refused(
        call.reference,
        now,
        AuditAction::AdminRefused,
        denial.reason(),
        call.actor(),
        facts,
    );
    let reference = context.recorder.record(event);
    render(&denial, &Surface::Admin, reference, &context.issuer).map(Into::into)
}
