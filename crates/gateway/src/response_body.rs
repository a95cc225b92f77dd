//! Bodies of answers, streamed and never buffered. An enum where a boxed body would cost an allocation.

use crate::answers::{Answer, Piece};
use crate::call::Asked;
use crate::forward::UpstreamBody;
use crate::local::{BoxError, LocalBody};
use crate::observe::Completion;
use crate::refusal::tell_broken_off;
use bytes::Bytes;
use countersign_policy::Denial;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// The body of an answer, and the request's completion, which is over when the body is.
pub(crate) struct ResponseBody {
    source: Source,
    completion: Completion,
    /// On HTTP/2, what tells whether the peer takes it.
    answer: Option<Rc<Answer>>,
    asked: Asked,
    /// It ended early: the next look says so.
    broken: Option<BrokenOff>,
}

/// The answer ended early. Its connection or stream ends with it, so that no client takes half for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's answer ended early")]
struct BrokenOff;

/// Where the body of an answer comes from.
pub(crate) enum Source {
    /// From us, at once.
    Full(Option<Bytes>),
    /// From an upstream.
    Upstream(UpstreamBody),
    /// From a local service.
    Local(LocalBody),
}

impl Source {
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Upstream(body) => body.size_hint(),
            Self::Local(body) => body.size_hint(),
        }
    }
}

/// RFC 9110 section 9.3.2: an answer to HEAD says how long its document is and does not have it. hyper sees to that on
/// HTTP/1.1; on HTTP/2 the client would read a body as a protocol error, and nothing of the answer.
pub(crate) fn head_alone(mut response: Response<Source>) -> Response<Source> {
    let length = response.body().size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(|_| Source::Full(None))
}

impl ResponseBody {
    pub(crate) fn new(source: Source, completion: Completion, asked: Asked) -> Self {
        let mut body = Self { source, completion, answer: None, asked, broken: None };
        if body.is_end_stream() {
            body.completion.answered(); // nothing will ask for a body
        } else if body.completion.connection().http2 {
            body.answer = Some(Answer::begin(body.completion.connection().answers.clone()));
        }
        body
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken.into())));
        }
        match &mut self.source {
            Source::Full(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Source::Upstream(body) => match ready!(body.poll_data(cx)) {
                Some(Err(denial)) => {
                    self.break_off(&denial);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Ok(bytes)) => Poll::Ready(Some(Ok(bytes))),
                None => Poll::Ready(None),
            },
            // Our own endpoints send no trailers.
            Source::Local(body) => Pin::new(body).poll_frame(cx).map(|frame| match frame {
                Some(Ok(frame)) => frame.into_data().ok().map(Ok),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            }),
        }
    }

    /// hyper throws away what it has not written yet when a body fails. It writes what it has while the body waits, so the
    /// failure waits for one turn: the client sees the head and what came of the answer, and then the end.
    fn break_off(&mut self, denial: &Denial) {
        tell_broken_off(&self.asked, self.completion.connection(), denial);
        self.broken = Some(BrokenOff);
    }
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        self.completion.answered(); // hyper asks for the body once the head is out
        let polled = self.poll_data(cx);
        if let Some(answer) = &self.answer {
            if polled.is_pending() { answer.our_turn() } else { answer.peers_turn() }
        }
        polled.map(|data| {
            data.map(|data| data.map(|bytes| Frame::data(Piece::new(bytes, self.answer.as_ref()))))
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(bytes) => bytes.is_none(),
            Source::Upstream(body) => self.broken.is_none() && body.is_end_stream(),
            Source::Local(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}
