//! Reads what a caller of the admin API sends; what cannot be read is refused with the place and the reason.

use crate::answer::{Refused, broken_body};
use axum::extract::{FromRequest, FromRequestParts, Request};
use countersign_model::ReasonCode;
use countersign_policy::Denial;
use http::request::Parts;
use serde::de::DeserializeOwned;

/// The largest body of an admin call: a CSR is the largest thing that anybody sends.
const MAX_BODY_BYTES: usize = 128 * 1024;

/// A JSON body. An empty one reads as `{}`, so that an operation whose members all have defaults needs none.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES)
            .await
            .map_err(|error| broken_body(&error))?;
        let bytes: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(bytes).map(Self).map_err(|error| malformed(error.to_string()))
    }
}

/// The query. A repeated or unknown parameter is refused.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| malformed(error.body_text()))
    }
}

/// A request that cannot be read: `note` says where.
pub(super) fn malformed(note: String) -> Refused {
    Refused(Denial::new(ReasonCode::RequestParameterInvalid).note(note))
}

/// A path parameter that does not have the form of its kind names nothing that exists.
pub(super) fn parse_or_not_found<T: std::str::FromStr>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|_| Refused(Denial::new(ReasonCode::ObjectNotFound)))
}
