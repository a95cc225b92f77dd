//! Operating a test server: other operators, other configurations, a start that fails.

use crate::client::{Answer, Client};
use crate::server::TestServer;
use countersign_model::Clock;
use countersign_model::operator::{Operator, Role};
use countersign_policy::client_auth::secret;
use countersign_storage::{Transaction, Write};
use http::Method;
use std::sync::Arc;

impl TestServer {
    /// Adds an operator; returns his token, which is good for the next call.
    pub async fn add_operator(&self, name: &str, role: Role) -> String {
        let context = self.server.context();
        let token = secret::generate_operator_token(context.rng.as_ref());
        let operator = Operator {
            name: name.to_owned(),
            role,
            token_hmac: secret::hmac(&context.pepper, token.expose()),
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

    /// What the admin listener answers to anybody: `/livez`, `/readyz`, `/metrics`.
    pub async fn health(&self, path: &str) -> Answer {
        self.call_admin(Method::GET, path, None, "").await
    }
}
