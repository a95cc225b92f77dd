//! One call of the service, and how far its request has come: what the pipeline and a refusal both look at.

use crate::connection::Connection;
use crate::worker::{Listener, Worker};
use countersign_model::Timestamp;
use countersign_policy::Route;
use http::{HeaderValue, Method, StatusCode, Uri};
use std::rc::Rc;
use std::sync::Arc;

/// One call of the service.
pub(crate) struct Call<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) listener: &'a Listener,
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) ordinal: u64,
    pub(crate) now: Timestamp,
}

/// How far a request has come: what a refusal is named after.
pub(crate) enum Place {
    Unknown,
    Local(&'static str),
    /// With the interaction id of the request, which every answer of a route carries (rule G8).
    Route(Arc<Route>, HeaderValue),
}

impl Place {
    /// The label of metrics: closed, because routes and prefixes are the operator's.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Unknown => "none",
            Self::Local(prefix) => prefix,
            Self::Route(route, _) => route.name(),
        }
    }
}

/// A call whose answer is on its way: what is told of it when the answer ends early.
pub(crate) struct Asked {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<Listener>,
    pub(crate) ordinal: u64,
    pub(crate) place: Place,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// Of the answer's head.
    pub(crate) status: StatusCode,
}
