//! The guard and hyper agree: every head that the guard lets pass is exactly one call of the service, and nothing that
//! the guard lets pass is an error to hyper. Otherwise the two would count messages differently, and a refusal could be
//! given to the wrong one.
#![no_main]

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use countersign_gateway::guard::framing::{Framing, Judgement};
use countersign_gateway::guard::limits::FramingLimits;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives the passed bytes, then the end; takes every answer.
struct Wire {
    input: Vec<u8>,
    at: usize,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = buffer.remaining().min(self.input.len() - self.at);
        buffer.put_slice(&self.input[self.at..self.at + length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the guard lets pass of `data`, and how many heads are in it.
fn passed(data: &[u8]) -> (Vec<u8>, u64) {
    let mut framing = Framing::new(FramingLimits::default());
    let mut passed = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let Judgement::Pass(length) = framing.judge(rest) else { break };
        passed.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    (passed, framing.heads())
}

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (input, heads) = passed(data);
    if heads == 0 {
        return;
    }
    let calls = Rc::new(Cell::new(0_u64));
    let last = Rc::new(Cell::new(false));
    let (counted, closing) = (calls.clone(), last.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        counted.set(counted.get() + 1);
        closing.set(closing.get() || ends_the_connection(&request));
        async move {
            // The whole body, so that hyper goes on to the next message.
            if let Err(error) = request.into_body().collect().await {
                assert!(is_cut(&error), "hyper refuses a body that the guard let pass: {error:?}");
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let served = RUNTIME.with_borrow(|runtime| {
        let connection = hyper::server::conn::http1::Builder::new()
            .max_buf_size(128 * 1024)
            .serve_connection(TokioIo::new(Wire { input, at: 0 }), service);
        runtime.block_on(connection)
    });
    if let Err(error) = &served {
        assert!(!error.is_parse(), "hyper refuses what the guard let pass: {error:?}");
    }
    assert!(calls.get() <= heads, "{} calls for {heads} heads", calls.get());
    // A message with a body that never ends, and a client that asks to close, leave the rest unread.
    assert!(calls.get() == heads || last.get() || served.is_err(), "{} calls for {heads} heads", calls.get());
});

fn ends_the_connection(request: &Request<Incoming>) -> bool {
    request.version() != http::Version::HTTP_11
        || request.headers().contains_key(http::header::CONNECTION)
        || request.headers().contains_key(http::header::UPGRADE)
}

/// The bytes ended before the body did.
fn is_cut(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::UnexpectedEof)
}
