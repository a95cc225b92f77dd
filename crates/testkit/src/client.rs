//! A caller: one request on one connection, or many on a kept-alive one, over HTTP/1.1 or HTTP/2.

use crate::clock::TestClock;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A certificate chain and its key, as a partner holds them.
#[derive(Debug)]
pub struct Identity {
    /// The chain, DER, end entity first.
    pub chain: Vec<Vec<u8>>,
    /// The key, PKCS#8.
    pub key: Vec<u8>,
}

/// How a caller connects.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    http2: bool,
}

/// An open connection.
pub struct Connection {
    sender: Sender,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// There was no answer: the handshake ended in an alert, or the connection ended.
#[derive(Debug)]
pub struct NoAnswer(pub String);

impl<E: std::error::Error> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        Self(format!("{error}: {:?}", error.source()))
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The reason code of a problem document or OAuth error.
    pub fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }

    /// A header field as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Client {
    /// A caller over plain HTTP.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, http2: false }
    }

    /// A caller over TLS that trusts `root` and presents `identity`, if any.
    pub fn tls(address: SocketAddr, root: &[u8], identity: Option<&Identity>, clock: Arc<TestClock>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(root.to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_details(provider, clock)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::Pkcs8(identity.key.clone().into());
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        Self { address, tls: Some(Arc::new(config)), http2: false }
    }

    /// The same caller over HTTP/2.
    #[must_use]
    pub fn http2(mut self) -> Self {
        let mut config = self.tls.as_deref().cloned().expect("HTTP/2 is offered over TLS only");
        config.alpn_protocols = vec![b"h2".to_vec()];
        self.tls = Some(Arc::new(config));
        self.http2 = true;
        self
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn connect(&self) -> Result<Connection, NoAnswer> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.speak(stream).await,
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
                self.speak(stream).await
            }
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<Connection, NoAnswer>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let sender = if self.http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Ok(Connection { sender })
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, NoAnswer> {
        self.connect().await?.send(method, path, headers, body).await
    }

    /// Sends one GET on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, path, headers, "").await
    }
}

impl Connection {
    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, NoAnswer> {
        let uri = match &self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("https://localhost{path}"),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self.sender, Sender::Http1(_)) && !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}
