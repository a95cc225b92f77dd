//! Operating a test server: other operators, other configurations, a start that fails.

use crate::answer::Answer;
use crate::client::Client;
use crate::clock::TestClock;
use crate::rng::SeededRng;
use crate::server::{NoEnvironment, Stopped, TestServer, configuration};
use countersign::config::Configuration;
use countersign::wiring::{Installation, OpenError};
use countersign_model::Clock;
use countersign_model::operator::{Operator, Role};
use countersign_policy::client_auth::secret;
use countersign_storage::{Transaction, Write};
use http::Method;
use std::path::Path;
use std::sync::Arc;

impl TestServer {
    /// Adds an operator; returns his token, which is good for the next call.
    pub async fn add_operator(&self, name: &str, role: Role) -> String {
        let context = self.server.context();
        let token = secret::generate_operator_token(context.rng.as_ref());
        let operator = Operator {
            name: name.to_owned(),
            role,
            token_hmac: secret::operator_hmac(&context.pepper, token.expose()),
            enabled: true,
            created_at: self.clock.now(),
        };
        context.store.commit(Transaction::new().write(Write::InsertOperator(operator))).await.unwrap();
        context.operators.store(Arc::new(context.store.operators().await.unwrap()));
        token.expose().clone()
    }

    /// Calls the admin listener with this `Authorization`, if any, and this body as it is.
    pub async fn call_admin(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        body: &str,
    ) -> Answer {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        Client::plain(self.admin).send(method, path, &headers, body).await.unwrap()
    }

    /// Why a second server does not start on the same data while this one runs.
    pub async fn second_start_error(&self) -> OpenError {
        start_error(self.configuration(""), self.clock.clone()).await
    }

    /// What the admin listener answers to anybody: `/livez`, `/readyz`, `/metrics`.
    pub async fn health(&self, path: &str) -> Answer {
        self.call_admin(Method::GET, path, None, "").await
    }
}

impl Stopped {
    /// Where its data is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it again on the same data, a second later: seeded randomness of the same second would repeat itself.
    pub async fn start(self, more: &str) -> TestServer {
        self.clock.advance_s(1);
        TestServer::open(self.directory, self.upstream, self.clock, more).await
    }

    /// Why it does not start again.
    pub async fn start_error(&self) -> OpenError {
        let configuration = configuration(self.directory(), self.upstream.address, "");
        start_error(configuration, self.clock.clone()).await
    }
}

async fn start_error(configuration: Configuration, clock: Arc<TestClock>) -> OpenError {
    match Installation::open(&configuration, &NoEnvironment, clock, Arc::new(SeededRng::new(1))).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error,
    }
}
