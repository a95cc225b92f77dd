//! A connection on which a test writes the very bytes it wants, and reads answers strictly.

use crate::answer::Answer;
use crate::seen;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// An open connection without any HTTP client on it.
pub struct Raw {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Writes bytes. The server may have closed already: then its answer says why.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if self.stream.write_all(bytes.as_ref()).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// Writes bytes and reads one answer.
    pub async fn call(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).await;
        self.answer().await
    }

    /// Reads one answer; its body must have a Content-Length or be chunked.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length");
        if !length.is_empty() {
            let length = length.parse().unwrap();
            answer.body = self.take(length).await;
        } else if answer.header("transfer-encoding") == "chunked" {
            loop {
                let size = usize::from_str_radix(self.line().await.trim(), 16).unwrap();
                let chunk = self.take(size).await;
                answer.body.extend(chunk);
                assert_eq!(self.take(2).await, b"\r\n");
                if size == 0 {
                    break;
                }
            }
        }
        seen::in_answer(&answer);
        answer
    }

    /// Reads status and header fields of an answer.
    pub async fn head(&mut self) -> Answer {
        let status_line = self.line().await;
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line:?}");
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let name = HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        Answer { status: status_line[9..12].parse().unwrap(), headers, body: Vec::new() }
    }

    /// Whether the server ends the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.more().await
    }

    /// Reads and drops everything until the server ends the connection.
    pub async fn drain(&mut self) {
        while self.more().await {
            self.buffer.clear();
        }
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.more().await, "closed within a body");
        }
        self.buffer.drain(..length).collect()
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|&c| c == b'\n') {
                return String::from_utf8(self.buffer.drain(..=end).collect()).unwrap();
            }
            assert!(self.more().await, "closed within a line: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0)
    }
}
