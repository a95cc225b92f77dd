//! Upstreams: one that tells what it received, and some that misbehave.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Counts what reached an upstream.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Answers with its request line, header fields and body, one to a line; `/stream` never ends, and
/// `/silent` never begins.
pub(crate) async fn echo() -> (SocketAddr, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let shared = counts.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let shared = shared.clone();
            let service = service_fn(move |request| {
                shared.requests.fetch_add(1, Ordering::SeqCst);
                answer(request)
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, counts)
}

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path().ends_with("/silent") {
        std::future::pending::<()>().await;
    }
    if head.uri.path().ends_with("/stream") {
        let pieces = futures_util::stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok(Frame::data(Bytes::from_static(&[b'x'; 1024]))), ()))
        });
        return Ok(Response::new(StreamBody::new(pieces).boxed_unsync()));
    }
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(Response::new(Full::new(Bytes::from_static(b"cut")).boxed_unsync())),
    };
    text += "\n";
    text += &String::from_utf8_lossy(&body);
    let response = Response::builder()
        .header("x-upstream", "echo")
        .header("countersign-ref", "forged")
        .header("connection", "x-hop")
        .header("x-hop", "gone");
    Ok(response.body(Full::new(Bytes::from(text)).boxed_unsync()).unwrap())
}

/// Reads a head and answers with these bytes, then closes; with none it is silent.
pub(crate) async fn canned(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                if bytes.is_empty() {
                    while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
                } else {
                    let _ = stream.write_all(bytes).await;
                }
            });
        }
    });
    address
}

/// Reads a head, answers with these bytes, and then neither goes on nor closes.
pub(crate) async fn halting(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 16 * 1024]).await;
                let _ = stream.write_all(bytes).await;
                while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
            });
        }
    });
    address
}

/// A host that does not answer to a connection, for as long as what comes with it is kept: its queue is full, and the
/// kernel drops what else wants in.
pub(crate) async fn unanswering() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        queued.push(connected.unwrap());
        assert!(queued.len() < 100, "the queue is never full");
    }
    (address, listener, queued)
}
