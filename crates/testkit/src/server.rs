//! The server in process: storage in a directory that goes away, sockets on port 0.

use crate::answer::Answer;
use crate::client::{Client, Identity};
use crate::clock::TestClock;
use crate::disk::TestDisk;
use crate::rng::SeededRng;
use crate::upstream::EchoUpstream;
use countersign::config::secret_ref::ProcessEnvironment;
use countersign::config::{self, Colour, Surroundings};
use countersign::wiring::{Installation, Server};
use countersign_keys::{MasterKey, PortableKey, SystemRng};
use countersign_model::certificate::IssuerRole;
use countersign_model::operator::{Operator, Role};
use countersign_model::{Clock, Rng, Timestamp};
use countersign_pki::{assemble_csr, csr_info_to_sign, pem};
use countersign_policy::client_auth::secret;
use countersign_storage::{Transaction, Write};
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// When tests begin: a fixed moment, so that nothing depends on the day.
pub const BEGIN: Timestamp = Timestamp::from_unix_s(1_795_000_000); // 2026-11-18

/// The issuer of a test server: the port is not part of it, because it is chosen at the start.
pub const ISSUER: &str = "https://localhost";

/// Organisation and common name of our CA for clients.
pub const CLIENTS_CA: (&str, &str) = ("Countersign", "Countersign Client CA");

/// What stands before this in a test's own configuration is for `[storage]`.
pub const STORAGE_END: &str = "# end of [storage]";

/// The routes of a test server: each kind of route once, all to the same upstream.
pub const ROUTES: &str = r#"
[[routes]]
name = "data"
environment = "production"
api = "bank"
path = "/data/"
upstream = "echo"
upstream_path = "/"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]

[[routes]]
name = "pay"
environment = "production"
api = "bank"
path = "/pay/"
upstream = "echo"
client_certificate = "required"
token = "bound"
scopes = ["pay:write"]

[[routes]]
name = "optional-bound"
environment = "production"
api = "bank"
path = "/optional-bound/"
upstream = "echo"
client_certificate = "optional"
token = "bound"
scopes = ["data:read"]

[[routes]]
name = "optional-bearer"
environment = "production"
api = "bank"
path = "/optional-bearer/"
upstream = "echo"
client_certificate = "optional"
token = "bearer"
scopes = ["data:read"]

[[routes]]
name = "off-bearer"
environment = "production"
api = "bank"
path = "/off-bearer/"
upstream = "echo"
client_certificate = "off"
token = "bearer"
scopes = ["data:read"]

[[routes]]
name = "only-acme"
environment = "production"
api = "bank"
path = "/only-acme/"
upstream = "echo"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
clients = ["acme-pay"]

[[routes]]
name = "limited"
environment = "production"
api = "bank"
path = "/limited/"
upstream = "echo"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
methods = ["GET"]
rate_limit = { requests = 1, per = "60s", burst = 2 }

[[routes]]
name = "test-data"
environment = "sandbox"
api = "bank"
path = "/test/data/"
upstream = "echo"
upstream_path = "/"
client_certificate = "optional"
token = "bearer"
scopes = ["data:read"]
internal = true

[[routes]]
name = "test-required"
environment = "sandbox"
api = "bank"
path = "/test/required/"
upstream = "echo"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
internal = true

[[routes]]
name = "test-strict"
environment = "sandbox"
api = "bank"
path = "/test/strict/"
upstream = "echo"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]

[[routes]]
name = "test-optional-bound"
environment = "sandbox"
api = "bank"
path = "/test/optional-bound/"
upstream = "echo"
client_certificate = "optional"
token = "bound"
scopes = ["data:read"]

[[routes]]
name = "test-bearer"
environment = "sandbox"
api = "bank"
path = "/test/bearer/"
upstream = "echo"
client_certificate = "optional"
token = "bearer"
scopes = ["data:read"]

[[routes]]
name = "test-off"
environment = "sandbox"
api = "bank"
path = "/test/off/"
upstream = "echo"
client_certificate = "off"
token = "bearer"
scopes = ["data:read"]
internal = true

[[routes]]
name = "test-only-bank"
environment = "sandbox"
api = "bank"
path = "/test/only-bank/"
upstream = "echo"
client_certificate = "optional"
token = "bearer"
scopes = ["data:read"]
clients = ["test-bank"]
internal = true
"#;

/// A running server with everything that a test asks it.
pub struct TestServer {
    /// The server itself.
    pub server: Server,
    /// Its clock.
    pub clock: Arc<TestClock>,
    /// Its disk, as far as free space is concerned.
    pub disk: Arc<TestDisk>,
    /// What it proxies to.
    pub upstream: EchoUpstream,
    /// The gateway's listener.
    pub gateway: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The listener of public CA documents.
    pub documents: SocketAddr,
    /// Our root certificate, DER.
    pub root: Vec<u8>,
    admin_token: String,
    directory: Arc<tempfile::TempDir>,
}

/// A server that was stopped: its data, its clock, and what it proxied to.
pub struct Stopped {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) upstream: EchoUpstream,
    pub(crate) directory: Arc<tempfile::TempDir>,
}

pub(crate) struct NoEnvironment;

impl ProcessEnvironment for NoEnvironment {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

impl TestServer {
    /// Starts one with the usual routes.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts one with more configuration than the usual.
    pub async fn start_with(more: &str) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        MasterKey::generate(&SystemRng).create_file(&directory.path().join("master.key")).unwrap();
        let upstream = EchoUpstream::start().await;
        Self::open(directory, upstream, Arc::new(TestClock::at(BEGIN)), more).await
    }

    /// Stops it in order, and starts it again on the same data.
    pub async fn restart(self) -> Self {
        self.stop().await.start("").await
    }

    /// Stops it in order.
    pub async fn stop(self) -> Stopped {
        let Self { server, clock, upstream, directory, .. } = self;
        server.shutdown().await.unwrap();
        Stopped { clock, upstream, directory }
    }

    /// The configuration that this server would have with `more` than the usual: for a reload.
    pub fn configuration(&self, more: &str) -> countersign::config::Configuration {
        configuration(self.directory(), self.upstream.address, more)
    }

    pub(crate) async fn open(
        directory: Arc<tempfile::TempDir>,
        upstream: EchoUpstream,
        clock: Arc<TestClock>,
        more: &str,
    ) -> Self {
        let configuration = configuration(directory.path(), upstream.address, more);
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(clock.now().unix_ms().unsigned_abs()));
        let mut installation =
            Installation::open(&configuration, &NoEnvironment, clock.clone(), rng.clone()).await.unwrap();
        installation.watches_clock = false;
        let admin_token = operator_token(&installation, directory.path()).await;
        let root = installation.ca.trusted(IssuerRole::Root).unwrap().remove(0).certificate;
        let disk = Arc::new(TestDisk::default());
        installation.disk = disk.clone();
        let server = Server::start(configuration, installation).await.unwrap();
        Self {
            gateway: server.local_addr("public").await.unwrap(),
            admin: server.local_addr("admin").await.unwrap(),
            documents: server.local_addr("documents").await.unwrap(),
            server,
            clock,
            disk,
            upstream,
            root,
            admin_token,
            directory,
        }
    }

    /// Where its data is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A caller at the gateway, with or without a certificate.
    pub fn caller(&self, identity: Option<&Identity>) -> Client {
        Client::tls(self.gateway, &self.root, identity, self.clock.clone())
    }

    /// Calls the admin API as the administrator; `body` null for none.
    pub async fn administer(&self, method: Method, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.admin_token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Client::plain(self.admin).send(method, path, &headers, &body).await.unwrap()
    }

    /// Registers a client; returns its secret, if its method has one.
    pub async fn add_client(
        &self,
        id: &str,
        environment: &str,
        auth_method: &str,
        scopes: &[&str],
    ) -> Option<String> {
        let new = json!({
            "client_id": id, "environment": environment, "auth_method": auth_method, "scopes": scopes,
        });
        let answer = self.administer(Method::POST, "/admin/v1/clients", &new).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json().get("client_secret").and_then(Value::as_str).map(str::to_owned)
    }

    /// Makes a key and a CSR as a partner does, and has it signed.
    pub async fn certificate(&self, client: &str) -> Identity {
        let key = PortableKey::generate().unwrap();
        let info = csr_info_to_sign(client, key.public_key()).unwrap();
        let csr = assemble_csr(&info, &key.sign(&info).unwrap()).unwrap();
        let body = json!({ "client": client, "csr": csr });
        let answer = self.administer(Method::POST, "/admin/v1/certificates", &body).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let chain = answer.json()["chain"].as_str().unwrap().to_owned();
        let key = key.to_pem().unwrap();
        Identity {
            chain: pem::decode_all(pem::Label::Certificate, chain.as_bytes()).unwrap(),
            key: pem_body(key.expose()),
        }
    }

    /// Asks for a token; the answer may be a refusal.
    pub async fn ask_token(&self, identity: Option<&Identity>, form: &str) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.caller(identity).send(Method::POST, "/oauth2/token", &headers, form).await.unwrap()
    }

    /// Gets a token over mutual TLS, with all scopes of the client.
    pub async fn bound_token(&self, client: &str, identity: &Identity) -> String {
        let form = format!("grant_type=client_credentials&client_id={client}");
        access_token(&self.ask_token(Some(identity), &form).await)
    }

    /// Gets a token with a secret in the form, without a certificate.
    pub async fn bearer_token(&self, client: &str, client_secret: &str) -> String {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret={client_secret}");
        access_token(&self.ask_token(None, &form).await)
    }

    /// Calls the gateway with a bearer token.
    pub async fn call(&self, identity: Option<&Identity>, path: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        self.caller(identity).get(path, &[("authorization", &authorization)]).await.unwrap()
    }

    /// Revokes the certificate of an identity.
    pub async fn revoke(&self, identity: &Identity, reason: &str) -> Answer {
        let thumbprint = countersign_pki::thumbprint(&identity.chain[0]);
        let path = format!("/admin/v1/certificates/{thumbprint}/revoke");
        self.administer(Method::POST, &path, &json!({ "reason": reason })).await
    }
}

/// The token of a successful answer.
pub fn access_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

pub(crate) fn configuration(
    directory: &Path,
    upstream: SocketAddr,
    more: &str,
) -> countersign::config::Configuration {
    // Tests move the clock by days, and the views hear of it later: only the tests of rule G16 ask for less.
    let (storage, more) = match more.split_once(STORAGE_END) {
        Some((storage, more)) => (storage, more),
        None => (r#"max_staleness = "3650d""#, more),
    };
    let text = format!(
        r#"
issuer = "{ISSUER}"
[storage]
url = "sqlite:countersign.db"
{storage}
[keys]
master = "file:master.key"
[admin]
listen = "127.0.0.1:0"
[[listeners]]
name = "public"
address = "127.0.0.1:0"
certificate = {{ ca = ["localhost", "127.0.0.1"] }}
client_certificate = "optional"
serve = ["routes", "oauth2"]
[[listeners]]
name = "documents"
address = "127.0.0.1:0"
serve = ["pki"]
[[upstreams]]
name = "echo"
url = "http://{upstream}"
[[apis]]
name = "bank"
audience = "https://localhost/"
scopes = {{ "data:read" = "Read accounts", "pay:write" = "Make payments" }}
{ROUTES}
{more}
"#
    );
    let around = Surroundings::new(directory, &NoEnvironment);
    config::check(&text, &around).unwrap_or_else(|mistakes| {
        panic!("{}", config::render(Path::new("test.toml"), &text, &mistakes, Colour::Never))
    })
}

/// The administrator's token: made at the first start, kept for the next.
async fn operator_token(installation: &Installation, directory: &Path) -> String {
    let kept = directory.join("admin.token");
    if let Ok(token) = std::fs::read_to_string(&kept) {
        return token;
    }
    let token = secret::generate_operator_token(installation.rng.as_ref());
    let operator = Operator {
        name: "tester".to_owned(),
        role: Role::Admin,
        token_hmac: secret::operator_hmac(&installation.pepper, token.expose()),
        enabled: true,
        created_at: installation.clock.now(),
    };
    installation.store.commit(Transaction::new().write(Write::InsertOperator(operator))).await.unwrap();
    std::fs::write(&kept, token.expose()).unwrap();
    token.expose().clone()
}

fn pem_body(text: &str) -> Vec<u8> {
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject;
    PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).unwrap().secret_pkcs8_der().to_vec()
}
