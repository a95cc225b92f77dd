//! One connection: open it, send the prepared request, read the whole response.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

const RESPONSE_LIMIT_BYTES: usize = 1 << 20;

/// Why a request has no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    #[error("cannot connect")]
    Connect,
    #[error("the TLS handshake failed")]
    Handshake,
    #[error("the connection ended in the middle of a response")]
    Closed,
    #[error("the response is no HTTP/1.1 that this program can read")]
    Malformed,
    #[error("no whole response in time")]
    Timeout,
}

/// Where the requests go, resolved once.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What the handshake agreed on, for the report: a comparison of two servers needs the same here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Negotiated {
    pub(crate) version: String,
    pub(crate) suite: String,
    pub(crate) group: String,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    pub(crate) negotiated: Option<Negotiated>,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Self, Failure> {
        Self::over(TcpStream::connect(target.address).await.map_err(|_| Failure::Connect)?, target).await
    }

    /// As [`Self::open`], from another address of this machine.
    pub(crate) async fn open_from(source: IpAddr, target: &Target) -> Result<Self, Failure> {
        let socket = TcpSocket::new_v4().map_err(|_| Failure::Connect)?;
        socket.bind((source, 0).into()).map_err(|_| Failure::Connect)?;
        Self::over(socket.connect(target.address).await.map_err(|_| Failure::Connect)?, target).await
    }

    async fn over(tcp: TcpStream, target: &Target) -> Result<Self, Failure> {
        tcp.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let Some((config, name)) = &target.tls else {
            return Ok(Self { stream: Box::new(tcp), received: Vec::new(), negotiated: None });
        };
        let connector = TlsConnector::from(config.clone());
        let tls = connector.connect(name.clone(), tcp).await.map_err(|_| Failure::Handshake)?;
        let session = tls.get_ref().1;
        let negotiated = Negotiated {
            version: session.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
            suite: session
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            group: session
                .negotiated_key_exchange_group()
                .map_or_else(String::new, |group| format!("{:?}", group.name())),
        };
        Ok(Self { stream: Box::new(tls), received: Vec::new(), negotiated: Some(negotiated) })
    }

    /// Sends `request` and reads the response to its end. Returns the status.
    pub(crate) async fn round_trip(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.stream.write_all(request).await.map_err(|_| Failure::Closed)?;
        self.stream.flush().await.map_err(|_| Failure::Closed)?;
        loop {
            let response = response(&self.received)?;
            if let Some((answer, length)) = response {
                self.received.drain(..length);
                return Ok(answer);
            }
            if self.received.len() > RESPONSE_LIMIT_BYTES {
                return Err(Failure::Malformed);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(Failure::Closed),
                Ok(_) => {}
                // TLS 1.3: a server that refuses the client's certificate says so after the client's handshake is done.
                Err(error) if error.kind() == ErrorKind::InvalidData => return Err(Failure::Handshake),
                Err(_) => return Err(Failure::Closed),
            }
        }
    }

    /// Says goodbye properly, so that no server counts a cut connection.
    pub(crate) async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}

/// A whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The server ends the connection after this response.
    pub(crate) last: bool,
}

/// The first response in `received` and its length, or `None` until all of it is there.
fn response(received: &[u8]) -> Result<Option<(Answer, usize)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(received).map_err(|_| Failure::Malformed)?;
    let (httparse::Status::Complete(head_length), Some(status)) = (parsed, head.code) else {
        return Ok(None);
    };

    let mut body = Body::None;
    let mut last = head.version != Some(1);
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
            body = Body::Length(length.ok_or(Failure::Malformed)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            last |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let answer = Answer { status, last };
    let rest = &received[head_length..];
    let body_length = match body {
        _ if matches!(status, 204 | 304) => Some(0),
        // A body that only the end of the connection ends is not needed here.
        Body::None => return Err(Failure::Malformed),
        Body::Length(length) => (rest.len() >= length).then_some(length),
        Body::Chunked => chunked_length(rest)?,
    };
    Ok(body_length.map(|length| (answer, head_length + length)))
}

enum Body {
    None,
    Length(usize),
    Chunked,
}

/// The length of a chunked body that begins `rest`, trailers not allowed, or `None` until its last chunk is there.
fn chunked_length(rest: &[u8]) -> Result<Option<usize>, Failure> {
    let mut at = 0;
    loop {
        let parsed = httparse::parse_chunk_size(&rest[at..]).map_err(|_| Failure::Malformed)?;
        let httparse::Status::Complete((line, size)) = parsed else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| Failure::Malformed)?;
        at = at
            .checked_add(line)
            .and_then(|at| at.checked_add(size)?.checked_add(2))
            .ok_or(Failure::Malformed)?;
        if at > rest.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(received: &str, expected: Result<Option<(u16, bool, usize)>, Failure>) {
        let found = response(received.as_bytes());
        assert_eq!(
            found.map(|some| some.map(|(answer, length)| (answer.status, answer.last, length))),
            expected
        );
    }

    #[test]
    fn responses_end_where_their_framing_says() {
        check("HTTP/1.1 200 OK\r\ncontent-le", Ok(None));
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Ok(None));
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP", Ok(Some((200, false, 41))));
        check("HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", Ok(Some((401, true, 57))));
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", Ok(None));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            Ok(Some((200, false, 60))),
        );
        check("HTTP/1.1 200 OK\r\n\r\nuntil the end", Err(Failure::Malformed));
        check("SSH-2.0-OpenSSH\r\n", Err(Failure::Malformed));
    }
}
