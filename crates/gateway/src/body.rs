//! Bodies of requests, streamed and never buffered.

use bytes::Bytes;
use countersign_model::ReasonCode;
use countersign_policy::Denial;
use countersign_policy::header_names::is_plain;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Why the body of a request ended early.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It broke a limit of ours.
    #[error("the body was refused: {0}")]
    Refused(ReasonCode),
    /// The peer went away, or reset the stream.
    #[error("the body ended early")]
    Broken,
}

impl From<RequestBodyError> for Denial {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::Refused(reason) => refused(reason),
            RequestBodyError::Broken => {
                Self::new(ReasonCode::RequestMalformed).note("the request's body ended early")
            }
        }
    }
}

/// The refusal of a body. Of header fields it has its trailers alone.
pub fn refused(reason: ReasonCode) -> Denial {
    let denial = Denial::new(reason);
    match reason {
        ReasonCode::RequestHeaderInvalid => {
            let fault = "The name of a trailer field has a character that is not accepted.";
            denial.told(format!("{fault} Use letters, digits, `-` and `_`."), None)
        }
        _ => denial,
    }
}

/// The body of a request. On HTTP/1.1 the guard has bounded it already; on HTTP/2 that happens here (rule G15).
pub struct RequestBody {
    incoming: Incoming,
    bounds: Option<Box<Bounds>>,
    /// Where the guard says why it ended the body.
    refused_below: Option<Verdict>,
}

struct Bounds {
    remaining: u64,
    progress: Duration,
    ends: Instant,
    sleep: Pin<Box<Sleep>>,
    verdict: Verdict,
    bodies: Arc<Bodies>,
}

/// The bodies of one HTTP/2 connection. Each that is not over holds it. When h2 finds in one what contradicts the head, it
/// resets the stream, and the service refuses the request with its own reason: the reset is not told of once more.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    malformed: AtomicUsize,
}

impl Bodies {
    fn note_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one that h2 ended and the service tells of.
    pub(crate) fn take_malformed(&self) -> bool {
        let less = |count: usize| count.checked_sub(1);
        self.malformed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Whether one may still turn out to be malformed.
    pub(crate) fn any_open(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
}

/// Where the reason is found after a body was refused while somebody else held it.
pub(crate) type Verdict = Arc<OnceLock<ReasonCode>>;

impl RequestBody {
    /// A body that the guard has bounded, and where it says why it ended it; or one that is over already.
    pub(crate) fn bounded_below(incoming: Incoming, refused: &Verdict) -> Self {
        let refused_below = (!incoming.is_end_stream()).then(|| refused.clone());
        Self { incoming, bounds: None, refused_below }
    }

    /// A body that may have `limit` bytes, must move on within `progress` and end within `whole`.
    pub(crate) fn bounded(
        incoming: Incoming,
        limit: u64,
        progress: Duration,
        whole: Duration,
        bodies: Arc<Bodies>,
    ) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let now = Instant::now();
        let bounds = Bounds {
            remaining: limit,
            progress,
            ends: now + whole,
            sleep: Box::pin(tokio::time::sleep_until(now + progress)),
            verdict: verdict.clone(),
            bodies,
        };
        (Self { incoming, bounds: Some(Box::new(bounds)), refused_below: None }, verdict)
    }

    /// Waits for the end of a body that is said to be empty and is not over: on HTTP/2 its end may come in a frame of its
    /// own, and so may what contradicts its length. Nothing is sent upstream before that is known.
    pub(crate) async fn settle(&mut self) -> Result<(), RequestBodyError> {
        while !self.is_end_stream() && self.size_hint().exact() == Some(0) {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                None => break,
                Some(Ok(frame)) if frame.data_ref().is_none_or(Bytes::is_empty) => {}
                Some(Ok(_)) => return Err(RequestBodyError::Refused(ReasonCode::RequestFramingAmbiguous)),
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Trailers end here: nothing behind us waits for a client's trailer fields. Their names are checked all the same (rule
    /// G19); on HTTP/1.1 the guard did.
    fn end_at_trailers(&self, frame: &Frame<Bytes>) -> Option<RequestBodyError> {
        let mut names = frame.trailers_ref()?.keys().map(|name| name.as_str().as_bytes());
        let bounds = self.bounds.as_ref()?;
        (!names.all(is_plain)).then(|| bounds.refuse(ReasonCode::RequestHeaderInvalid))
    }
}

/// Whether h2 ended the stream because its data and its Content-Length disagree (RFC 9113 section 8.1.1).
fn is_malformed(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|h2| h2.is_library() && h2.is_reset() && h2.reason() == Some(h2::Reason::PROTOCOL_ERROR))
}

impl Bounds {
    fn refuse(&self, reason: ReasonCode) -> RequestBodyError {
        let _ = self.verdict.set(reason); // the first reason counts
        RequestBodyError::Refused(reason)
    }

    fn count(&mut self, bytes: usize) -> Result<(), RequestBodyError> {
        match self.remaining.checked_sub(bytes as u64) {
            Some(remaining) => self.remaining = remaining,
            None => return Err(self.refuse(ReasonCode::RequestBodyTooLarge)),
        }
        // An empty DATA frame is no progress (the class of CVE-2019-9518).
        if bytes > 0 {
            self.sleep.as_mut().reset((Instant::now() + self.progress).min(self.ends));
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return Poll::Ready(this.end_at_trailers(&frame).map(Err)),
                };
                if let Some(bounds) = &mut this.bounds {
                    bounds.count(data.len())?;
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(bounds) = &this.bounds
                    && is_malformed(&error)
                {
                    if bounds.verdict.get().is_none() {
                        bounds.bodies.note_malformed();
                    }
                    return Poll::Ready(Some(Err(bounds.refuse(ReasonCode::RequestFramingAmbiguous))));
                }
                let refused = this.refused_below.as_ref().and_then(|refused| refused.get());
                let error =
                    refused.map_or(RequestBodyError::Broken, |reason| RequestBodyError::Refused(*reason));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let Some(bounds) = &mut this.bounds else { return Poll::Pending };
                ready!(bounds.sleep.as_mut().poll(cx));
                Poll::Ready(Some(Err(bounds.refuse(ReasonCode::RequestTooSlow))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_frame_without_content_is_no_progress() {
        let (progress, now) = (Duration::from_secs(20), Instant::now());
        let mut bounds = Bounds {
            remaining: 1,
            progress,
            ends: now + Duration::from_secs(300),
            sleep: Box::pin(tokio::time::sleep_until(now + progress)),
            verdict: Verdict::default(),
            bodies: Arc::default(),
        };
        tokio::time::advance(Duration::from_secs(5)).await;
        bounds.count(0).unwrap();
        assert_eq!(bounds.sleep.deadline(), now + progress);
        bounds.count(1).unwrap();
        assert_eq!(bounds.sleep.deadline(), now + Duration::from_secs(5) + progress);
        assert!(bounds.count(1).is_err());
    }
}
