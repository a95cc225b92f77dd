//! The port through which the binary hangs its own endpoints into our listeners: `/oauth2/`, `/.well-known/`, `/pki/`,
//! `/problems/`, and the admin API (design, decision 14). So the gateway never imports the authorization server.

use crate::body::RequestBody;
use bytes::Bytes;
use countersign_policy::Peer;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A request to a local service. Its body is bounded and timed by us.
pub struct LocalRequest {
    /// The request as it came; no header is removed.
    pub request: Request<RequestBody>,
    /// Who is at the other end.
    pub peer: Peer,
    /// The listener it came in on.
    pub listener: Arc<str>,
    /// The reserved prefix that it is under, as metrics and logs call it.
    pub prefix: &'static str,
}

/// The body of a local answer.
pub type LocalBody = UnsyncBoxBody<Bytes, BoxError>;
/// Why a local body ended early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a local service returns.
pub type LocalFuture = Pin<Box<dyn Future<Output = Response<LocalBody>> + Send>>;

/// Answers requests under the reserved paths. It records and logs its own outcomes ([`log_denial`](crate::log_denial));
/// the gateway counts their metrics, and refuses by itself what is malformed before it comes here. Of a body that ended early because it broke a limit
/// ([`RequestBodyError::Refused`](crate::body::RequestBodyError)) an answer with a reference is the refusal; any other
/// answer is replaced by one.
///
/// Called on a worker of the data path: whatever may take long belongs onto another runtime.
pub trait LocalService: Send + Sync + 'static {
    /// Answers one request.
    fn call(&self, request: LocalRequest) -> LocalFuture;
}
