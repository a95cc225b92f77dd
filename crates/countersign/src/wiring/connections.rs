//! The data path's open connections, as the admin API and the change feed see them.

use async_trait::async_trait;
use countersign_api::context::Connections;
use countersign_gateway::{Cut, Running};
use countersign_model::{ClientId, IssuerId, Serial};
use countersign_storage::views::Views;
use std::sync::Arc;
use tokio::sync::RwLock;

/// The data path's open connections, as the admin API and the change feed see them.
pub(super) struct OpenConnections {
    /// Empty until the data path runs, and again when it stops.
    pub(super) running: RwLock<Option<Running>>,
    views: Arc<Views>,
}

impl OpenConnections {
    /// No connections yet.
    pub(super) fn new(views: Arc<Views>) -> Self {
        Self { running: RwLock::default(), views }
    }

    /// Cuts connections and says how many; none while we stop.
    pub(super) async fn cut(&self, cut: &Cut) -> usize {
        match self.running.read().await.as_ref() {
            Some(running) => running.cut(cut).await,
            None => 0,
        }
    }
}

#[async_trait]
impl Connections for OpenConnections {
    async fn cut_certificate(&self, issuer: &IssuerId, serial: &Serial) -> usize {
        match self.views.issuer_key_hash(issuer) {
            Some(issuer_key_hash) => self.cut(&Cut::Certificate { issuer_key_hash, serial: *serial }).await,
            None => 0,
        }
    }

    async fn cut_client(&self, client: &ClientId) -> usize {
        self.cut(&Cut::Client(client.clone())).await
    }
}
