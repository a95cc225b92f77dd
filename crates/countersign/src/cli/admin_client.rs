//! The command line's way to the admin API: one small HTTP/1.1 client with a bearer credential.
//!
//! It refuses to send the credential over plain HTTP to another machine, follows no redirects, and trusts for `https`
//! only the CA file that it was given (rule T3).

use crate::failure::{Exit, Failure};
use crate::setup::directory::DEFAULT_DIR;
use crate::words::{error_chain, in_words};
use bytes::Bytes;
use clap::Args;
use countersign_api::admin::shapes::Problem;
use countersign_keys::PrivateFileError;
use countersign_keys::file::read_credential;
use countersign_model::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Which server, and with which credential.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminTarget {
    /// The directory of the server: its countersign.toml and admin.token are used
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR, env = "COUNTERSIGN_DIR", hide_env_values = true)]
    dir: PathBuf,
    /// The address of the admin API; --dir is not looked at then
    #[arg(long, value_name = "URL", requires = "credential_file", help_heading = "Another server")]
    admin: Option<Uri>,
    /// The file with the operator's credential
    #[arg(long, value_name = "FILE", help_heading = "Another server")]
    credential_file: Option<PathBuf>,
    /// The CA certificates (PEM) that an https address is checked with
    #[arg(long, value_name = "FILE", help_heading = "Another server")]
    ca_file: Option<PathBuf>,
}

/// No token is longer.
const MAX_TOKEN_BYTES: u64 = 4096;
/// How long a connection may take, and an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer: a thousand audit records fit many times.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A client of one server's admin API.
pub(crate) struct AdminClient {
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    credential: Secret<String>,
    runtime: tokio::runtime::Runtime,
    /// What to try when nobody answers.
    hint: String,
}

impl AdminClient {
    /// Finds the server and the credential; nothing is sent yet.
    pub(crate) fn new(target: &AdminTarget) -> Result<Self, Failure> {
        let (uri, hint) = match &target.admin {
            Some(uri) => (uri.clone(), "check the address, and that the server runs".to_owned()),
            None => {
                let path = target.dir.join("countersign.toml");
                let hint = format!("start it: countersign serve --config {}", path.display());
                (address_of_directory(&path)?, hint)
            }
        };
        let bad = |why: &str| {
            Failure::new(Exit::Usage, format!("`{uri}` is no address of an admin API"))
                .why(why)
                .action("name it like this: --admin https://HOST:PORT")
        };
        let host = uri.host().ok_or_else(|| bad("an address begins with http:// or https://"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("only scheme, host and port belong here"));
        }
        let tls = match uri.scheme_str() {
            Some("https") => Some(tls_config(target.ca_file.as_deref())?),
            Some("http") if is_loopback(&host) => None,
            Some("http") => {
                return Err(bad("the credential would cross the network in the clear").action("use https://"));
            }
            _ => return Err(bad("an address begins with http:// or https://")),
        };
        let token_file = target.credential_file.clone().unwrap_or_else(|| target.dir.join("admin.token"));
        let token = read_token(&token_file, target)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::caused(Exit::Refused, "no runtime", &error))?;
        Ok(Self {
            port: uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 }),
            host,
            tls,
            credential: token,
            runtime,
            hint,
        })
    }

    /// `GET /admin/v1` and `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Vec::new(), Some(ANSWER_TIMEOUT))
    }

    /// The same without a deadline: for what takes as long as there is data, such as the verification of a whole log.
    pub(crate) fn get_however_long<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Vec::new(), None)
    }

    /// `POST /admin/v1` and `path`, with `body` as JSON.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::caused(Exit::Refused, "the request is not valid JSON", &error))?;
        self.call(Method::POST, path, body, Some(ANSWER_TIMEOUT))
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        deadline: Option<Duration>,
    ) -> Result<T, Failure> {
        let (status, body) = self.runtime.block_on(self.exchange(method, path, body, deadline))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                let failure = Failure::new(Exit::Refused, "the server's answer is not understood");
                failure.why(error.to_string()).action("use the countersign of the server's version")
            });
        }
        let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_else(|_| Problem {
            kind: None,
            title: String::new(),
            status: status.as_u16(),
            code: String::new(),
            detail: "it gave no reason that this program understands".to_owned(),
            action: "check that the address is that of a Countersign admin API".to_owned(),
            reference: None,
        });
        Err(Failure::problem(status.as_u16(), problem))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        deadline: Option<Duration>,
    ) -> Result<(http::StatusCode, Bytes), Failure> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
        let stream =
            connecting.await.unwrap_or_else(|_| Err(self.unreachable("it did not answer in time")))?;
        let answer = self.send(stream, method.clone(), path, body);
        let Some(deadline) = deadline else { return answer.await };
        let answer = tokio::time::timeout(deadline, answer).await;
        answer.unwrap_or_else(|_| Err(unanswered(&method, "it did not answer in time")))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = connecting.await.map_err(|error| self.unreachable(in_words(&error)))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|_| {
            Failure::new(Exit::Usage, "the host of the address is no name that TLS knows")
                .action("name the host as its certificate does")
        })?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| self.unreachable(error.to_string()))?))
    }

    async fn send(
        &self,
        stream: Box<dyn Stream>,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(http::StatusCode, Bytes), Failure> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error.to_string()))?;
        tokio::spawn(connection);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("/admin/v1{path}"))
            .header(HOST, format!("{host}:{}", self.port))
            .header(AUTHORIZATION, format!("Bearer {}", self.credential.expose()));
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| {
            let failure = Failure::new(Exit::Usage, "the credential or the name cannot be sent");
            failure
                .why("it has characters that HTTP does not carry")
                .action("check the credential file and the name")
        })?;
        // hyper gives back what it has not begun to write: only then is it certain that nothing was carried out.
        let answer = sender.try_send_request(request).await.map_err(|mut lost| match lost.take_message() {
            Some(_) => self.unreachable(lost.error().to_string()),
            None => unanswered(&method, error_chain(lost.error())),
        });
        let (head, body) = answer?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        // The server is there, and may have done what it was asked to.
        let broken_off = |error: Box<dyn std::error::Error + Send + Sync>| Failure {
            what: "the server's answer broke off".to_owned(),
            ..unanswered(&method, error_chain(error.as_ref()))
        };
        let body = body.map_err(broken_off)?.to_bytes();
        Ok((head.status, body))
    }

    fn unreachable(&self, why: impl Into<String>) -> Failure {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let what = format!("the admin API at {scheme}://{}:{} is not reachable", self.host, self.port);
        Failure::new(Exit::Unreachable, what).why(why).action(self.hint.clone())
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The request was sent and no answer came. The server was there, and may have done what it was asked to (G17).
fn unanswered(method: &Method, why: impl Into<String>) -> Failure {
    let failure = Failure::new(Exit::Refused, "the server took the request and gave no answer").why(why);
    failure.action(match *method {
        Method::GET => "run it again; nothing was changed",
        _ => "it may have been carried out; look before you repeat it: countersign audit list",
    })
}

/// The operator's token: a file that others may read is refused, as the server refuses its keys.
fn read_token(path: &Path, target: &AdminTarget) -> Result<Secret<String>, Failure> {
    let failure = |error: &std::io::Error, action: String| Failure {
        exit: Exit::NotAllowed,
        ..Failure::file("read", path, error).action(action)
    };
    let content = read_credential(path, MAX_TOKEN_BYTES).map_err(|error| match error {
        PrivateFileError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => failure(
            &source,
            format!(
                "name the server's directory with --dir; a lost token: countersign operator reset-token --dir {}",
                target.dir.display()
            ),
        ),
        PrivateFileError::Read { source, .. } => {
            failure(&source, "run this as the user that the file belongs to".to_owned())
        }
        refused => Failure::new(Exit::NotAllowed, "the credential file was refused")
            .why(refused.to_string())
            .action("make it a file that only this user can read: chmod 600"),
    })?;
    let text = std::str::from_utf8(content.expose()).map(|text| text.trim().to_owned());
    let no_text = |_| {
        Failure::new(Exit::NotAllowed, format!("{} holds no token", path.display()))
            .action("name the file with the operator's token: --credential-file FILE")
    };
    text.map(Secret::new).map_err(no_text)
}

/// The text as one segment of a path; what could be anything else than a name is refused.
pub(crate) fn segment(text: &str) -> Result<&str, Failure> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    if !text.is_empty() && text.bytes().all(plain) && !matches!(text, "." | "..") {
        return Ok(text);
    }
    Err(Failure::new(
        Exit::NotFound,
        format!("`{}` is no name that anything could have", text.escape_debug()),
    )
    .action("check the name: letters, digits, `.`, `_` and `-`"))
}

/// `[admin] listen` of the configuration of a directory. The rest of the file is not looked at: it may be of a server that
/// this program could not start itself.
fn address_of_directory(path: &Path) -> Result<Uri, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let failure = Failure::file("read", path, &error);
        let action = "name the server with --dir DIR, or with --admin URL and --credential-file FILE";
        Failure { exit: Exit::Unreachable, ..failure.action(action) }
    })?;
    let table: toml::Table = text.parse().map_err(|_| {
        let failure = Failure::new(Exit::Refused, format!("{} is not valid TOML", path.display()));
        failure.action(format!("countersign config check --config {}", path.display()))
    })?;
    let listen = table.get("admin").and_then(|admin| admin.get("listen")).and_then(toml::Value::as_str);
    listen.and_then(|listen| format!("http://{listen}").parse().ok()).ok_or_else(|| {
        let failure = Failure::new(Exit::Refused, format!("{} has no [admin] listen", path.display()));
        failure.action(format!("countersign config check --config {}", path.display()))
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls_config(ca_file: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let Some(path) = ca_file else {
        let failure = Failure::new(Exit::Usage, "an https address needs --ca-file");
        return Err(failure
            .why("nothing else tells whom to trust")
            .action("name the file with the CA certificates: --ca-file FILE"));
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let no_certificates = || {
        Failure::new(Exit::Refused, format!("{} has no CA certificates", path.display()))
            .action("name a file with CA certificates in PEM")
    };
    for certificate in certificates.map_err(|_| no_certificates())? {
        roots.add(certificate).map_err(|_| no_certificates())?;
    }
    if roots.is_empty() {
        return Err(no_certificates());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Failure::caused(Exit::Refused, "no TLS", &error))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(admin: &str, credential: &Path) -> AdminTarget {
        AdminTarget {
            dir: DEFAULT_DIR.into(),
            admin: Some(admin.parse().unwrap()),
            credential_file: Some(credential.to_owned()),
            ca_file: None,
        }
    }

    fn refused(admin: &str) -> Failure {
        AdminClient::new(&target(admin, Path::new("/nowhere/token"))).err().unwrap()
    }

    #[test]
    fn the_credential_never_crosses_a_network_in_the_clear() {
        assert!(refused("http://192.0.2.1:8444").why.unwrap().contains("in the clear"));
        assert!(refused("http://localhost.example:8444").why.unwrap().contains("in the clear"));
        assert!(refused("https://192.0.2.1:8444").what.contains("--ca-file"));
    }

    #[test]
    fn a_credential_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let credential = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(credential.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let failure = AdminClient::new(&target("http://127.0.0.1:1", credential.path())).err().unwrap();
        assert_eq!(failure.exit, Exit::NotAllowed);
        assert!(failure.why.unwrap().contains("chmod 600"));
    }

    #[test]
    fn a_missing_credential_is_not_allowed_and_a_missing_server_is_not_reachable() {
        let failure = refused("http://127.0.0.1:1");
        assert_eq!(failure.exit, Exit::NotAllowed);
        let credential = tempfile::NamedTempFile::new().unwrap();
        let client = AdminClient::new(&target("http://127.0.0.1:1", credential.path())).unwrap();
        let failure = client.get::<serde_json::Value>("/clients").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(failure.human().lines().count(), 3, "{}", failure.human());
    }

    /// A server that is there and went away in the middle is something else than one that is not there.
    #[test]
    fn an_answer_that_broke_off_is_not_called_unreachable() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").unwrap();
        });
        let credential = tempfile::NamedTempFile::new().unwrap();
        let client = AdminClient::new(&target(&address, credential.path())).unwrap();
        let failure = client.post::<_, serde_json::Value>("/clients", &"").unwrap_err();
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::Refused, "the server's answer broke off"));
        server.join().unwrap();
    }

    /// What was sent may have been carried out, whether the connection ends in order or by a reset.
    #[test]
    fn rule_g17_a_request_without_an_answer_may_have_been_carried_out() {
        use std::io::Read;
        for reads in [4096, 1] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || {
                for _ in 0..2 {
                    let (mut stream, _) = listener.accept().unwrap();
                    let _ = stream.read(&mut vec![0; reads]).unwrap();
                }
            });
            let credential = tempfile::NamedTempFile::new().unwrap();
            let client = AdminClient::new(&target(&address, credential.path())).unwrap();
            let failure = client.post::<_, serde_json::Value>("/clients/x/rotate-secret", &"").unwrap_err();
            assert_eq!(failure.exit, Exit::Refused, "{failure:?}");
            let action = failure.action.as_deref().unwrap();
            assert!(
                action.contains("may have been carried out") && action.contains("audit list"),
                "{action}"
            );
            let failure = client.get::<serde_json::Value>("/clients").unwrap_err();
            assert_eq!((failure.exit, failure.human().contains("start it")), (Exit::Refused, false));
            server.join().unwrap();
        }
    }

    #[test]
    fn a_directory_names_its_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("countersign.toml");
        assert_eq!(address_of_directory(&path).unwrap_err().exit, Exit::Unreachable);
        std::fs::write(&path, "[admin]\nlisten = \"127.0.0.1:8444\"\n").unwrap();
        assert_eq!(address_of_directory(&path).unwrap().to_string(), "http://127.0.0.1:8444/");
    }

    #[test]
    fn names_cannot_lead_to_another_path() {
        assert!(segment("3f9a-_.x").is_ok());
        for bad in ["", "..", "a/b", "a?b", "a b", "a%2fb", "é"] {
            assert_eq!(segment(bad).unwrap_err().exit, Exit::NotFound, "{bad}");
        }
    }
}
