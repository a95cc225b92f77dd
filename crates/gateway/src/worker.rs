//! What a worker has: its upstream pools, verified tokens, metrics and register of connections (design, decision 2). Workers
//! share only what is read without waiting.

use crate::addresses::Addresses;
use crate::admission::RateLimits;
use crate::descriptors::Share;
use crate::failed_handshakes::FailedHandshakes;
use crate::forward::Pools;
use crate::interaction_id::InteractionIds;
use crate::load::Loads;
use crate::observe::{self, ListenerMetrics, Metrics};
use crate::register::Register;
use crate::resolve::{Names, Resolve};
use crate::settings::{ListenerSettings, Settings};
use crate::strangers::Strangers;
use crate::tls;
use crate::token_cache::TokenCache;
use countersign_model::IssuerId;
use countersign_pki::{PeerCertificate, TrustAnchors, TrustedIssuer};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What one worker has to itself.
pub(crate) struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pools: Pools,
    pub(crate) tokens: TokenCache,
    pub(crate) metrics: Metrics,
    pub(crate) interaction_ids: InteractionIds,
    pub(crate) register: Rc<Register>,
    /// Callers that have not said who they are.
    pub(crate) strangers: Rc<Strangers>,
    /// Who is connected to a listener for operators. They say who they are to the admin API alone.
    pub(crate) visitors: Rc<Strangers>,
    /// Told to stop: a connection that comes out of its handshake now is asked to finish like the others.
    pub(crate) stopping: Cell<bool>,
}

/// What the workers share: counters that must be one for the process, and the addresses of upstreams.
pub(crate) struct Shared {
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) rate_limits: RateLimits,
    pub(crate) failed_handshakes: FailedHandshakes,
    pub(crate) loads: Loads,
    /// Descriptors of callers' connections, of operators', and of connections to upstreams.
    pub(crate) callers: Arc<Share>,
    pub(crate) operators: Arc<Share>,
    pub(crate) upstreams: Arc<Share>,
    pub(crate) names: Names,
}

impl Shared {
    /// Nothing is counted yet.
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self {
            addresses: Arc::default(),
            rate_limits: RateLimits::default(),
            failed_handshakes: FailedHandshakes::default(),
            loads: Loads::default(),
            callers: Arc::default(),
            operators: Arc::default(),
            upstreams: Arc::default(),
            names: Names::new(resolver),
        }
    }

    /// Drops what grew old, and tells how much is taken. Every worker calls it.
    pub(crate) fn sweep(&self) {
        self.rate_limits.sweep();
        self.failed_handshakes.sweep();
        self.loads.sweep();
        for (kind, share) in
            [("connections", &self.callers), ("operators", &self.operators), ("upstreams", &self.upstreams)]
        {
            observe::connections(kind, share.taken());
        }
        self.loads.of_upstreams(observe::requests_in_flight);
    }
}

/// One listener, as one worker sees it.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) settings: ListenerSettings,
    pub(crate) metrics: ListenerMetrics,
    tls: RefCell<Option<(Arc<TrustAnchors>, TlsAcceptor)>>,
}

impl Listener {
    pub(crate) fn new(settings: ListenerSettings) -> Self {
        Self {
            name: Arc::from(settings.name.as_str()),
            metrics: ListenerMetrics::new(&settings.name),
            settings,
            tls: RefCell::default(),
        }
    }

    /// The TLS of the present trust anchors, made anew when those were swapped (rule T10).
    pub(crate) fn acceptor(&self, worker: &Worker) -> Option<TlsAcceptor> {
        let anchors = worker.settings.anchors.load();
        if let Some((of, acceptor)) = self.tls.borrow().as_ref()
            && Arc::ptr_eq(of, &anchors)
        {
            return Some(acceptor.clone());
        }
        let certificate = self.settings.certificate.clone()?;
        match tls::server_config(&self.settings, certificate, &anchors, &worker.settings.clock) {
            Ok(config) => {
                let acceptor = TlsAcceptor::from(Arc::new(config));
                *self.tls.borrow_mut() = Some((anchors.clone(), acceptor.clone()));
                Some(acceptor)
            }
            Err(error) => {
                tracing::error!(%error, "no TLS configuration");
                None
            }
        }
    }
}

impl Worker {
    pub(crate) fn new(settings: Arc<Settings>, shared: Arc<Shared>) -> Self {
        Self {
            tokens: TokenCache::new(settings.token_keys.clone()),
            pools: Pools::new(&settings, &shared),
            settings,
            shared,
            metrics: Metrics::default(),
            interaction_ids: InteractionIds::default(),
            register: Rc::default(),
            strangers: Rc::default(),
            visitors: Rc::default(),
            stopping: Cell::new(false),
        }
    }

    /// Which of the issuers that are trusted now signed the certificate.
    pub(crate) fn issuer_of(&self, certificate: &PeerCertificate) -> Option<IssuerId> {
        let anchors = self.settings.anchors.load();
        let ours = |issuer: &&TrustedIssuer| issuer.key_hash == *certificate.issuer_key_hash();
        anchors.issuers().iter().find(ours).map(|issuer| issuer.id.clone())
    }
}
