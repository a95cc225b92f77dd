//! The body of a request on its way to the upstream, and how far it has come.

use crate::body::{RequestBody, RequestBodyError};
use bytes::Bytes;
use countersign_model::ReasonCode;
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// A request body that hyper's client sends.
pub(super) struct Upload(Option<(RequestBody, Rc<Progress>)>);

/// Whose turn it is: the upstream's clock runs only while the client owes nothing.
#[derive(Debug)]
pub(super) struct Progress {
    last: Cell<Instant>,
    client_owes: Cell<bool>,
    /// All of the body was handed on.
    sent: Cell<bool>,
    failure: Cell<Option<UploadFailure>>,
}

/// The body of the request ended early, through no fault of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadFailure {
    Refused(ReasonCode),
    Broken,
}

impl Upload {
    /// No body.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// A body to send; `None` when there is nothing to send.
    pub(super) fn new(body: RequestBody) -> (Self, Option<Rc<Progress>>) {
        if body.is_end_stream() {
            return (Self::nothing(), None);
        }
        let progress = Rc::new(Progress {
            last: Cell::new(Instant::now()),
            client_owes: Cell::new(true),
            sent: Cell::new(false),
            failure: Cell::new(None),
        });
        (Self(Some((body, progress.clone()))), Some(progress))
    }
}

impl Drop for Upload {
    /// hyper drops a body that it does not send, or that it has sent: either way nothing more is owed by the client.
    fn drop(&mut self) {
        if let Some((_, progress)) = &self.0
            && progress.client_owes.get()
        {
            progress.set(false);
        }
    }
}

impl Progress {
    /// Since when the upstream alone is awaited; `None` while the client owes a part of the body.
    pub(super) fn upstream_awaited_since(&self) -> Option<Instant> {
        (!self.client_owes.get()).then(|| self.last.get())
    }

    /// Whether all of the body was handed on.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.get()
    }

    pub(super) fn failure(&self) -> Option<UploadFailure> {
        self.failure.get()
    }

    fn set(&self, client_owes: bool) {
        self.client_owes.set(client_owes);
        self.last.set(Instant::now());
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some((body, progress)) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        progress.set(polled.is_pending());
        // hyper asks no more once it knows the end.
        progress.sent.set(matches!(polled, Poll::Ready(None)) || body.is_end_stream());
        match &polled {
            Poll::Ready(Some(Err(RequestBodyError::Refused(reason)))) => {
                progress.failure.set(Some(UploadFailure::Refused(*reason)));
            }
            Poll::Ready(Some(Err(RequestBodyError::Broken))) => {
                progress.failure.set(Some(UploadFailure::Broken))
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some((body, _)) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
