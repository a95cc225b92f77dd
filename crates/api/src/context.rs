//! What the handlers work with: everything of the process that they may touch, and the two ports that the binary
//! implements for them.

use crate::answer::Refused;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use countersign_audit::Recorder;
use countersign_ca::CertificateAuthority;
use countersign_model::operator::Operator;
use countersign_model::{ClientId, Clock, IssuerId, ReasonCode, Reference, Rng, Serial, Timestamp};
use countersign_oauth::{Metadata, Registrar, TokenEndpoint, TokenKeyRing};
use countersign_policy::Denial;
use countersign_policy::client_auth::Pepper;
use countersign_storage::Store;
use countersign_storage::essential::EssentialStore;
use countersign_storage::space::Space;
use countersign_storage::views::Views;
use metrics_exporter_prometheus::PrometheusHandle;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer waits for this node's own views to hear of what was just committed. They are signalled in
/// process, so it takes microseconds; a view that is stuck makes the node not ready instead (rule G16).
const CATCH_UP: Duration = Duration::from_secs(2);

/// What the handlers work with.
pub struct Context {
    /// Our issuer identifier.
    pub issuer: String,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The same, asked for what is in force and not stored.
    pub essential: Arc<EssentialStore>,
    /// How much space is left where we write.
    pub space: Arc<Space>,
    /// What the data path knows.
    pub views: Arc<Views>,
    /// Signs and revokes certificates.
    pub ca: Arc<CertificateAuthority>,
    /// Issues access tokens.
    pub tokens: Arc<TokenEndpoint>,
    /// The documents that describe us; swapped by a reload.
    pub metadata: ArcSwap<Metadata>,
    /// The keys that sign them.
    pub token_keys: Arc<TokenKeyRing>,
    /// The certificates that our listeners show.
    pub server_certificates: Arc<dyn ServerCertificates>,
    /// Open connections of the data path.
    pub connections: Arc<dyn Connections>,
    /// Who may administer; swapped when an operator changes.
    pub operators: ArcSwap<Vec<Operator>>,
    /// What secrets are compared under.
    pub pepper: Arc<Pepper>,
    /// Where outcomes are recorded.
    pub recorder: Recorder,
    /// What waits to be recorded, because it was committed with what it tells of.
    pub outbox: Arc<dyn Outbox>,
    /// How old the views may be before the node is not ready (rule G16).
    pub max_staleness: Duration,
    /// Where the audit log's files are.
    pub audit_directory: PathBuf,
    /// The name of this node's audit chain.
    pub audit_chain: String,
    /// What Prometheus reads.
    pub metrics: PrometheusHandle,
    /// Tells the present.
    pub clock: Arc<dyn Clock>,
    /// References and secrets come from here.
    pub rng: Arc<dyn Rng>,
}

/// Audit events that were committed, on their way to the log.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Returns when everything that was committed before is in the log.
    ///
    /// # Errors
    /// Why it is not; it is tried again by itself.
    async fn deliver(&self) -> Result<(), String>;
}

/// The certificates that our listeners show, as readiness sees them.
pub trait ServerCertificates: Send + Sync {
    /// The listeners whose certificate has expired at `now`, or is not valid yet: callers refuse it.
    fn out_of_time(&self, now: Timestamp) -> Vec<String>;
}

/// Cuts open connections: the data path, as the admin API sees it.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Cuts the connections that present this certificate; returns how many.
    async fn cut_certificate(&self, issuer: &IssuerId, serial: &Serial) -> usize;
    /// Cuts the connections of this client; returns how many.
    async fn cut_client(&self, client: &ClientId) -> usize;
}

impl Context {
    pub(crate) fn reference(&self) -> Reference {
        Reference::generate(self.clock.now(), self.rng.as_ref())
    }

    pub(crate) fn registrar(&self) -> Registrar<'_> {
        Registrar { store: self.store.as_ref(), pepper: &self.pepper, rng: self.rng.as_ref() }
    }

    /// Waits until this node's views have applied what was just committed: what is acknowledged holds for the next request.
    /// Every answer that says a change was made waits here first, also for one that only allows more: its caller goes on
    /// to use it.
    ///
    /// # Errors
    /// `change_not_in_force`: the change is committed, and this node does not know of it yet. `committed` says what is on
    /// disk, and what its caller does now.
    pub(crate) async fn in_force(&self, sequence: u64, committed: &str) -> Result<(), Refused> {
        if self.views.applied(sequence, CATCH_UP).await {
            return Ok(());
        }
        tracing::error!(sequence, "the views have not applied a committed change");
        Err(change_not_in_force(committed))
    }
}

/// What is on disk, and does not hold on this node yet.
pub(crate) fn change_not_in_force(committed: &str) -> Refused {
    Refused(Denial::new(ReasonCode::ChangeNotInForce).note(committed.to_owned()))
}
