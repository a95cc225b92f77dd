//! The admin API (`/admin/v1`): the one way in which clients, certificates and keys are administered. The CLI is a
//! client of it.
//!
//! Every operation is registered in one of the three groups of [`router`], by the role that it needs: there is no place
//! to register one without.

pub mod shapes;

pub mod audit;
mod auth;
mod certificates;
mod clients;
mod document;
mod input;
mod token_keys;

use crate::Context;
use crate::answer::{Refused, render_refusals};
use axum::middleware::from_fn_with_state;
use axum::{Json, Router, routing::get};
use countersign_model::ReasonCode;
use countersign_model::operator::Role;
use countersign_policy::Denial;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where the admin API is.
pub const BASE: &str = "/admin/v1";

/// The router of the admin API, and the document that describes it.
pub fn router(context: &Arc<Context>) -> (Router, OpenApi) {
    let auditor = OpenApiRouter::new()
        .routes(routes!(clients::list))
        .routes(routes!(clients::show))
        .routes(routes!(certificates::list))
        .routes(routes!(certificates::show))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verification))
        .routes(routes!(audit::show))
        .route_layer(from_fn_with_state(Role::Auditor, auth::require));
    let operator = OpenApiRouter::new()
        .routes(routes!(clients::add))
        .routes(routes!(clients::edit))
        .routes(routes!(clients::disable))
        .routes(routes!(clients::enable))
        .routes(routes!(clients::rotate_secret))
        .routes(routes!(clients::revoke_certificates))
        .routes(routes!(certificates::sign))
        .routes(routes!(certificates::revoke))
        .route_layer(from_fn_with_state(Role::Operator, auth::require));
    let admin = OpenApiRouter::new()
        .routes(routes!(token_keys::rotate))
        .route_layer(from_fn_with_state(Role::Admin, auth::require));

    let (router, mut document) = OpenApiRouter::with_openapi(document::describe())
        .nest(BASE, auditor.merge(operator).merge(admin))
        .with_state(context.clone())
        .split_for_parts();
    document::add_refusals(&mut document);
    let served = Arc::new(document.clone());
    let openapi = get(move || async move { Json(served.as_ref().clone()) });
    let router = router
        .route(&format!("{BASE}/openapi.json"), openapi)
        // Of its own, so that it stands behind the layers below: axum's would answer whoever asks.
        .fallback(no_such_path)
        .layer(from_fn_with_state(context.clone(), auth::authenticate))
        .layer(from_fn_with_state(context.clone(), render_refusals));
    (router, document)
}

/// How many objects a listing shows.
const MOST: u32 = 1000;

/// So many are asked for, so that [`cut`] sees whether there are more.
fn one_more_than(most: u32) -> u32 {
    most.saturating_add(1)
}

/// Cuts a listing to what it shows. Whether there are more.
fn cut<T>(found: &mut Vec<T>, most: u32) -> bool {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let more = found.len() > most;
    found.truncate(most);
    more
}

async fn no_such_path() -> Refused {
    Denial::new(ReasonCode::ObjectNotFound).note("no such path").into()
}
