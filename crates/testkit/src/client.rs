//! A caller: one request on one connection, or many on a kept-alive one, over HTTP/1.1 or HTTP/2.

use crate::answer::Answer;
use crate::clock::TestClock;
use crate::raw::Raw;
use crate::seen;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a server may take to refuse a handshake; one that has not done so by then has accepted it.
const REFUSAL: Duration = Duration::from_secs(5);

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
    from: Option<IpAddr>,
    roots: Arc<rustls::RootCertStore>,
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

/// There was no answer: the handshake ended in an alert, or the connection ended.
#[derive(Debug)]
pub struct NoAnswer(pub String);

impl<E: std::error::Error> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        Self(format!("{error}: {:?}", error.source()))
    }
}

impl Client {
    /// A caller over plain HTTP.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, from: None, roots: Arc::new(rustls::RootCertStore::empty()), tls: None, http2: false }
    }

    /// A caller over TLS that trusts `root` and presents `identity`, if any.
    pub fn tls(address: SocketAddr, root: &[u8], identity: Option<&Identity>, clock: Arc<TestClock>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(root.to_vec())).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_details(provider, clock)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::Pkcs8(identity.key.clone().into());
                let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
                // Without rustls' own check that certificate and key belong together: attackers do not have it.
                let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key));
                builder.with_client_cert_resolver(Arc::new(identity))
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        Self { address, from: None, roots, tls: Some(Arc::new(config)), http2: false }
    }

    /// The same caller from another address of its own: all of 127.0.0.0/8 is ours.
    #[must_use]
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
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

    /// The same caller over TLS 1.2.
    #[must_use]
    pub fn tls12(mut self) -> Self {
        let Self { tls: Some(config), .. } = &self else { panic!("a caller over TLS") };
        let mut older = rustls::ClientConfig::builder_with_details(
            config.crypto_provider().clone(),
            config.time_provider.clone(),
        )
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(self.roots.clone())
        .with_client_cert_resolver(config.client_auth_cert_resolver.clone());
        older.resumption = rustls::client::Resumption::disabled();
        self.tls = Some(Arc::new(older));
        self
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn connect(&self) -> Result<Connection, NoAnswer> {
        if self.tls.is_none() {
            return self.speak(self.socket().await?).await;
        }
        self.speak(self.handshake().await?).await
    }

    /// Opens a connection on which the test writes HTTP/1.1 by hand.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn raw(&self) -> Result<Raw, NoAnswer> {
        Ok(Raw::new(self.handshake().await?))
    }

    /// The TLS alert that ends the handshake, as RFC 8446 section 6 names it; `None` when the server accepts it.
    pub async fn alert(&self) -> Option<String> {
        let error = match self.handshake().await {
            Err(NoAnswer(error)) => error,
            // With TLS 1.3 the client learns of the refusal when it reads.
            Ok(mut stream) => match tokio::time::timeout(REFUSAL, stream.read_u8()).await {
                Ok(Err(error)) => NoAnswer::from(error).0,
                Ok(Ok(_)) | Err(_) => return None,
            },
        };
        Some(alert_name(&error))
    }

    /// Sends these bytes in the place of a handshake, and waits for an answer or the end.
    pub async fn say_instead_of_a_handshake(&self, bytes: &[u8]) {
        let mut socket = self.socket().await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let _ = tokio::time::timeout(REFUSAL, socket.read_u8()).await;
    }

    /// Begins a handshake, and leaves when the server answers.
    pub async fn leave_in_handshake(&self) {
        let config = self.tls.clone().expect("a caller over TLS");
        let name = ServerName::try_from("localhost").unwrap();
        let mut hello = Vec::new();
        rustls::ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
        self.say_instead_of_a_handshake(&hello).await;
    }

    async fn socket(&self) -> std::io::Result<TcpStream> {
        let stream = match self.from {
            None => TcpStream::connect(self.address).await?,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(from, 0))?;
                socket.connect(self.address).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn handshake(&self) -> Result<TlsStream<TcpStream>, NoAnswer> {
        let config = self.tls.clone().expect("a caller over TLS");
        let name = ServerName::try_from("localhost")?;
        Ok(TlsConnector::from(config).connect(name, self.socket().await?).await?)
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
        let (head, body) = self.begin(method, path, headers, body).await?.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
        seen::in_answer(&answer);
        Ok(answer)
    }

    /// Sends a request and waits for the head of the answer: its body may still stream.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response<Incoming>, NoAnswer> {
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
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }
}

/// `unknown_ca` out of rustls' words around `UnknownCA`.
fn alert_name(error: &str) -> String {
    let name = error.split("fatal alert: ").nth(1).unwrap_or_else(|| panic!("no alert but: {error}"));
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut snake = String::new();
    let mut previous_was_upper = true;
    for c in name.chars() {
        if c.is_ascii_uppercase() && !previous_was_upper {
            snake.push('_');
        }
        previous_was_upper = c.is_ascii_uppercase();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
