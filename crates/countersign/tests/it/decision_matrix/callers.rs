//! Who calls in the decision matrix, and with what: the same people in production and in the sandbox, so that neither
//! side's columns are blind to what the other side's show; then those who cross over, and the internal method.

use super::COLUMNS;
use countersign_model::Clock;
use countersign_testkit::client::Connection;
use countersign_testkit::foreign::{ForeignAuthority, Leaf, self_signed};
use countersign_testkit::server::{CLIENTS_CA, access_token};
use countersign_testkit::{Identity, TestServer};
use http::Method;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Who calls, and with what.
pub(super) struct Caller<'a> {
    pub(super) name: String,
    pub(super) connects: Connects<'a>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) query: &'static str,
}

pub(super) enum Connects<'a> {
    With(Option<&'a Identity>),
    /// On connections that are open since before the certificate expired.
    Since(Open),
    /// Does not get to speak.
    Refused(&'a Identity),
}

/// A connection for each column, over HTTP/1.1 and HTTP/2.
pub(super) type Open = HashMap<(usize, bool), Connection>;

impl<'a> Caller<'a> {
    fn new(name: impl Into<String>, identity: Option<&'a Identity>) -> Self {
        Self { name: name.into(), connects: Connects::With(identity), headers: Vec::new(), query: "" }
    }

    fn refused(name: &str, identity: &'a Identity) -> Self {
        Self { connects: Connects::Refused(identity), ..Self::new(name, None) }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    fn internal(self, client_id: &str, client_secret: &str) -> Self {
        self.header("client_id", client_id).header("client_secret", client_secret)
    }

    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }
}

/// The clients of one environment: a bank that has everything, and those beside it.
struct Names {
    environment: &'static str,
    path: &'static str,
    bank: &'static str,
    other: &'static str,
    lost: &'static str,
    gone: &'static str,
    aged: &'static str,
    shop: &'static str,
    turned: &'static str,
}

const PRODUCTION: Names = Names {
    environment: "production",
    path: "/data/x",
    bank: "acme-pay",
    other: "other-bank",
    lost: "lost-bank",
    gone: "gone-bank",
    aged: "aged-bank",
    shop: "web-shop",
    turned: "turned-shop",
};

const SANDBOX: Names = Names {
    environment: "sandbox",
    path: "/test/data/x",
    bank: "test-bank",
    other: "test-other",
    lost: "test-lost",
    gone: "test-gone",
    aged: "test-aged",
    shop: "test-shop",
    turned: "test-turned",
};

const TLS: &str = "tls_client_auth";
const POST: &str = "client_secret_post";
const READ: &[&str] = &["data:read"];

/// What a client holds, and a token of it.
struct Holder {
    identity: Identity,
    token: String,
}

/// The people of one environment.
struct Side {
    names: Names,
    bank: Holder,
    renewed: Identity,
    other: Holder,
    lost: Holder,
    gone: Holder,
    aged_token: String,
    open: Open,
    shop: Holder,
    shop_secret: String,
    turned_token: String,
    pay_token: String,
    /// Tokens of the bank with one thing wrong.
    forged: Vec<(&'static str, String)>,
    unbound: String,
}

/// Everybody there is.
pub(super) struct People {
    production: Side,
    sandbox: Side,
    internal: Vec<(&'static str, &'static str, String)>,
    /// Certificates that end the handshake.
    refused: Vec<(&'static str, Identity)>,
    /// A certificate of ours that was registered to nobody.
    unregistered: Identity,
}

impl People {
    /// Registers everybody; the clock ends behind the end of some certificates and of a secret.
    pub(super) async fn meet(server: &TestServer) -> Self {
        let mut aged = Vec::new();
        for names in [&PRODUCTION, &SANDBOX] {
            server.add_client(names.aged, names.environment, TLS, READ).await;
            aged.push(server.certificate(names.aged).await);
        }
        server.clock.advance_s(30 * 86_400 - 60);
        let mut connected = Vec::new();
        for (names, identity) in [&PRODUCTION, &SANDBOX].into_iter().zip(&aged) {
            let token = server.bound_token(names.aged, identity).await;
            connected.push((token, open(server, identity, names.path).await));
        }
        let past = server.add_client("test-past", "sandbox", POST, READ).await.unwrap();
        post(server, "clients/test-past/rotate-secret", json!({ "overlap_s": 60 })).await;
        server.clock.advance_s(120);

        let sandbox = Side::meet(server, SANDBOX, connected.pop().unwrap()).await;
        let production = Side::meet(server, PRODUCTION, connected.pop().unwrap()).await;
        let (refused, unregistered) = strangers(server, aged).await;
        Self { production, sandbox, internal: internal(server, past).await, refused, unregistered }
    }

    /// The rows.
    pub(super) fn callers(&mut self) -> Vec<Caller<'_>> {
        let open = [&mut self.production, &mut self.sandbox].map(|side| std::mem::take(&mut side.open));
        let people: &Self = self;
        let mut callers = vec![
            Caller::new("nothing at all", None),
            Caller::new("a header name with a dot", None).header("countersign.client.id", "acme-pay"),
        ];
        let refused = people.refused.iter();
        callers.extend(refused.map(|(name, identity)| Caller::refused(name, identity)));
        callers.push(Caller::new("certificate of ours for no client", Some(&people.unregistered)));
        for ((here, there), open) in
            [(&people.production, &people.sandbox), (&people.sandbox, &people.production)]
                .into_iter()
                .zip(open)
        {
            callers.extend(here.with_tokens(there, people, open));
            callers.extend(here.with_several_credentials(people));
        }
        callers.extend(people.by_secret());
        callers
    }

    /// The internal method: client_id and client_secret with each call.
    fn by_secret(&self) -> Vec<Caller<'_>> {
        let c = Caller::new;
        let (id, secret) = (SANDBOX.shop, self.sandbox.shop_secret.as_str());
        let mut callers = vec![
            c("internal credentials", None).internal(id, secret),
            c("internal credentials by Basic", None).header("authorization", basic(id, secret)),
            c("internal credentials, right certificate", Some(&self.sandbox.shop.identity))
                .internal(id, secret),
            c("internal credentials, another's certificate", Some(&self.sandbox.bank.identity))
                .internal(id, secret),
            c("internal credentials, a production certificate", Some(&self.production.bank.identity))
                .internal(id, secret),
            c("internal credentials, a revoked certificate", Some(&self.sandbox.lost.identity))
                .internal(id, secret),
            c("internal credentials, wrong secret", None).internal(id, "cs_wrong"),
            c("internal credentials, unknown client", None).internal("nobody", secret),
            c("internal credentials of a production client", None)
                .internal(PRODUCTION.shop, &self.production.shop_secret),
            c("client_id without client_secret", None).header("client_id", id),
            c("client_secret without client_id", None).header("client_secret", secret),
            c("client-id and client-secret, spelled with hyphens", None)
                .header("client-id", id)
                .header("client-secret", secret),
            c("internal credentials twice", None).internal(id, secret).internal(id, secret),
        ];
        callers.extend(self.internal.iter().map(|(what, id, secret)| {
            Caller::new(format!("internal credentials, {what}"), None).internal(id, secret)
        }));
        callers
    }
}

impl Side {
    async fn meet(server: &TestServer, names: Names, (aged_token, open): (String, Open)) -> Self {
        let environment = names.environment;
        server.add_client(names.bank, environment, TLS, &["data:read", "pay:write"]).await;
        for client in [names.other, names.lost, names.gone] {
            server.add_client(client, environment, TLS, READ).await;
        }
        let [bank, other, lost, gone] = [names.bank, names.other, names.lost, names.gone];
        let (bank, other) = (holder(server, bank).await, holder(server, other).await);
        let (lost, gone) = (holder(server, lost).await, holder(server, gone).await);
        assert_eq!(server.revoke(&lost.identity, "keyCompromise").await.status, 200);
        post(server, &format!("clients/{}/disable", names.gone), json!({})).await;

        let shop_secret = server.add_client(names.shop, environment, POST, READ).await.unwrap();
        let shop = Holder {
            identity: server.certificate(names.shop).await,
            token: server.bearer_token(names.shop, &shop_secret).await,
        };
        let turned_secret = server.add_client(names.turned, environment, POST, READ).await.unwrap();
        let turned_token = server.bearer_token(names.turned, &turned_secret).await;
        let rotate = format!("clients/{}/rotate-secret", names.turned);
        post(server, &rotate, json!({ "overlap_s": 0 })).await;

        let form = format!("grant_type=client_credentials&client_id={}&scope=pay:write", names.bank);
        let pay_token = access_token(&server.ask_token(Some(&bank.identity), &form).await);
        let unbound = server.token_claims(names.bank, None, "data:read pay:write");
        Self {
            renewed: server.certificate(names.bank).await,
            forged: forged(server, names.bank, &bank.identity).await,
            unbound: server.sign_token(&server.token_header(), &unbound).await,
            names,
            bank,
            other,
            lost,
            gone,
            aged_token,
            open,
            shop,
            shop_secret,
            turned_token,
            pay_token,
        }
    }

    /// One credential at a time: a certificate, a token, or both.
    fn with_tokens<'a>(&'a self, there: &'a Self, people: &'a People, open: Open) -> Vec<Caller<'a>> {
        let c = |name: &str, identity| self.caller(name, identity);
        let (bank, other) = (Some(&self.bank.identity), Some(&self.other.identity));
        let (lost, gone) = (Some(&self.lost.identity), Some(&self.gone.identity));
        let mut callers = vec![
            c("certificate only", bank),
            c("certificate only, of a disabled client", gone),
            c("revoked certificate only", lost),
            c("revoked certificate, its token", lost).token(&self.lost.token),
            c("token of a revoked certificate, no certificate", None).token(&self.lost.token),
            c("revoked certificate, another's token", lost).token(&self.bank.token),
            Caller {
                connects: Connects::Since(open),
                ..c("certificate expired while connected, its token", None).token(&self.aged_token)
            },
            c("bearer token, a certificate of ours for no client", Some(&people.unregistered))
                .token(&self.shop.token),
            c("bound token, right certificate", bank).token(&self.bank.token),
            c("bound token, right certificate, of another bank", other).token(&self.other.token),
            c("bound token, renewed certificate", Some(&self.renewed)).token(&self.bank.token),
            c("bound token, another client's certificate", other).token(&self.bank.token),
            c("bound token, no certificate", None).token(&self.bank.token),
            c("bound token, a certificate of the other side", Some(&there.bank.identity))
                .token(&self.bank.token),
            c("bearer token, no certificate", None).token(&self.shop.token),
            c("bearer token of a secret that was ended", None).token(&self.turned_token),
            c("bearer token, right certificate", Some(&self.shop.identity)).token(&self.shop.token),
            c("bearer token, another client's certificate", bank).token(&self.shop.token),
            c("bearer token, a certificate of the other side", Some(&there.bank.identity))
                .token(&self.shop.token),
            c("bearer token of a client that has a certificate", bank).token(&self.unbound),
            c("token with the scope pay:write only", bank).token(&self.pay_token),
            c("token of a disabled client, right certificate", gone).token(&self.gone.token),
            c("token of a disabled client, no certificate", None).token(&self.gone.token),
            c("token that is none", bank).token("rubbish"),
            c("Authorization of another scheme", bank)
                .header("authorization", format!("DPoP {}", self.bank.token)),
        ];
        callers.extend(self.forged.iter().map(|(what, token)| c(what, bank).token(token)));
        let expired = &self.forged.iter().find(|(what, _)| *what == "expired token").unwrap().1;
        callers.push(c("expired token, another client's certificate", other).token(expired));
        callers
    }

    /// More than one, or one in a place where it must not be.
    fn with_several_credentials<'a>(&'a self, people: &'a People) -> Vec<Caller<'a>> {
        let c = |name: &str| self.caller(name, Some(&self.bank.identity));
        let token = self.bank.token.as_str();
        let (id, secret) = (SANDBOX.shop, people.sandbox.shop_secret.as_str());
        vec![
            c("two tokens").token(token).token(token),
            c("token in the query").query("?access_token=x"),
            c("token in the query and in Authorization").query("?access_token=x").token(token),
            c("bound token and internal credentials").token(token).internal(id, secret),
            c("bound token and client_id alone").token(token).header("client_id", id),
            c("bound token and client_secret alone").token(token).header("client_secret", secret),
        ]
    }

    fn caller<'a>(&self, name: &str, identity: Option<&'a Identity>) -> Caller<'a> {
        Caller::new(format!("{}: {name}", self.names.environment), identity)
    }
}

/// Connections with a certificate of which an answer shows that the server has seen it, which with TLS 1.3 is after the
/// client is done.
async fn open(server: &TestServer, identity: &Identity, path: &str) -> Open {
    let mut open = Open::new();
    for column in 0..COLUMNS.len() {
        let caller = server.caller(Some(identity));
        for (http2, caller) in [(false, caller.clone()), (true, caller.http2())] {
            let mut connection = caller.connect().await.unwrap();
            connection.send(Method::GET, path, &[], "").await.unwrap();
            open.insert((column, http2), connection);
        }
    }
    open
}

async fn holder(server: &TestServer, client: &str) -> Holder {
    let identity = server.certificate(client).await;
    Holder { token: server.bound_token(client, &identity).await, identity }
}

async fn post(server: &TestServer, path: &str, body: Value) {
    let answer = server.administer(Method::POST, &format!("/admin/v1/{path}"), &body).await;
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
}

/// Tokens with one thing wrong, signed with the server's own key.
async fn forged(server: &TestServer, client: &str, identity: &Identity) -> Vec<(&'static str, String)> {
    let header = server.token_header();
    let good = server.token_claims(client, Some(identity), "data:read pay:write");
    let now_s = server.clock.now().unix_s();
    let mut forged = Vec::new();
    for (what, change) in [
        ("token for another audience", json!({ "aud": "https://localhost/cards" })),
        ("token of another issuer", json!({ "iss": "https://localhost:8443" })),
        ("expired token", json!({ "iat": now_s - 600, "exp": now_s - 300 })),
        ("token not yet valid", json!({ "iat": now_s + 100 })),
        (
            "token bound to a DPoP key",
            json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }),
        ),
    ] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        forged.push((what, server.sign_token(&header, &claims).await));
    }
    forged
}

/// Whose certificates end the handshake, and a certificate of ours that nobody was registered with.
async fn strangers(server: &TestServer, aged: Vec<Identity>) -> (Vec<(&'static str, Identity)>, Identity) {
    let now = server.clock.now();
    let leaf = Leaf {
        uri: "https://localhost/clients/acme-pay",
        not_before: now.plus_s(-3600),
        not_after: now.plus_s(3600),
        for_servers: false,
    };
    let stolen = server.stolen_authority().await;
    let refused = vec![
        ("expired certificate", aged.into_iter().next().unwrap()),
        ("certificate not yet valid", stolen.issue(Leaf { not_before: now.plus_s(600), ..leaf })),
        (
            "certificate of another CA of the same name",
            ForeignAuthority::new(CLIENTS_CA.0, CLIENTS_CA.1).issue(leaf),
        ),
        ("self-signed certificate", self_signed(leaf)),
        ("certificate of ours for servers", stolen.issue(Leaf { for_servers: true, ..leaf })),
        ("certificate of ours with a weak key", stolen.issue_weak(leaf)),
    ];
    (refused, stolen.issue(Leaf { uri: "https://localhost/clients/nobody", ..leaf }))
}

/// Clients of the internal method that do not get through, with their secrets.
async fn internal(server: &TestServer, past: String) -> Vec<(&'static str, &'static str, String)> {
    let shut = server.add_client("test-shut", "sandbox", POST, READ).await.unwrap();
    post(server, "clients/test-shut/disable", json!({})).await;
    let payer = server.add_client("test-payer", "sandbox", POST, &["pay:write"]).await.unwrap();
    vec![
        ("disabled client", "test-shut", shut),
        ("expired secret", "test-past", past),
        ("without the scope", "test-payer", payer),
    ]
}

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
}
