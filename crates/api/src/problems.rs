//! `/problems/{code}`: the pages that the `type` of a problem document leads to. They answer without a certificate.

use crate::Context;
use crate::answer::Refused;
use axum::extract::Path;
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use countersign_model::ReasonCode;
use countersign_policy::Denial;
use countersign_policy::denial::problem_page;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use std::sync::Arc;

/// The router of the problem pages.
pub fn router() -> Router<Arc<Context>> {
    Router::new().route("/problems/{code}", get(page))
}

async fn page(Path(code): Path<String>) -> Response {
    match code.parse::<ReasonCode>() {
        Ok(code) => {
            let headers = [
                (CACHE_CONTROL, "public, max-age=3600"),
                // The page is text: nothing on it may load, run or dress anything.
                (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
            ];
            (headers, Html(problem_page(code))).into_response()
        }
        Err(_) => Refused(Denial::new(ReasonCode::RouteNotFound).note("no such reason code")).into_response(),
    }
}
