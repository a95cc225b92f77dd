//! A client that sends the very bytes that a test wants, and reads answers strictly.

use crate::pki::Identity;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a client connects.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    pub(crate) roots: RootCertStore,
    pub(crate) identity: Option<Identity>,
    pub(crate) sni: &'static str,
    pub(crate) alpn: Vec<&'static str>,
    pub(crate) tls12: bool,
    pub(crate) resumption: bool,
}

impl Dial {
    pub(crate) fn config(&self) -> ClientConfig {
        let versions: &[&rustls::SupportedProtocolVersion] =
            if self.tls12 { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        if !self.resumption {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    pub(crate) async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_with(Arc::new(self.config())).await
    }

    pub(crate) async fn tls_with(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(ServerName::try_from(self.sni).unwrap(), stream).await
    }

    pub(crate) async fn raw(&self) -> Raw {
        self.raw_with(self.config()).await
    }

    pub(crate) async fn raw_with(&self, config: ClientConfig) -> Raw {
        Raw { stream: self.tls_with(Arc::new(config)).await.unwrap(), buffer: Vec::new() }
    }
}

/// A connection on which a test writes HTTP/1.1 by hand.
pub(crate) struct Raw {
    pub(crate) stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn call(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes).await;
        self.reply().await
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        self.reply_to(false).await
    }

    /// Reads an answer; one to HEAD has no body.
    pub(crate) async fn reply_to(&mut self, head_request: bool) -> Reply {
        let mut reply = self.head().await;
        if head_request || reply.status == 204 || reply.status == 304 {
            return reply;
        }
        if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.more().await, "closed within a body");
            }
            reply.body = self.buffer.drain(..length).collect();
        } else {
            assert_eq!(reply.header("transfer-encoding"), Some("chunked"), "{reply:?}");
            loop {
                let line = self.line().await;
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                while self.buffer.len() < size + 2 {
                    assert!(self.more().await, "closed within a chunk");
                }
                reply.body.extend(self.buffer.drain(..size));
                self.buffer.drain(..2);
                if size == 0 {
                    break;
                }
            }
        }
        reply
    }

    pub(crate) async fn head(&mut self) -> Reply {
        let status_line = self.line().await;
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line:?}");
        let status = status_line[9..12].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            let line = line.trim_end();
            if line.is_empty() {
                return Reply { status, headers, body: Vec::new() };
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
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

    /// Waits for the end; nothing more may come before it.
    pub(crate) async fn closed(&mut self) {
        let more = self.more().await;
        assert!(!more, "more came: {:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// Everything until the end.
    pub(crate) async fn everything(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Reads and drops until the end, and says how much came.
    pub(crate) async fn drain(&mut self) -> usize {
        let mut sum = self.buffer.len();
        self.buffer.clear();
        while self.more().await {
            sum += self.buffer.len();
            self.buffer.clear();
        }
        sum
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The `code` of a problem document; checks what every refusal has.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("countersign-ref").map(str::len), Some(26), "{self:?}");
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["status"], self.status, "{document}");
        assert_eq!(document["ref"].as_str(), self.header("countersign-ref"));
        document["code"].as_str().unwrap().to_owned()
    }

    /// Status and `error` of an OAuth error.
    pub(crate) fn oauth_error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("countersign-ref").map(str::len), Some(26), "{self:?}");
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        (self.status, document["error"].as_str().unwrap().to_owned())
    }

    /// Status and code of a refusal, for comparison in one line.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }
}
