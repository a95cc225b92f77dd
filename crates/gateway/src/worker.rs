//! What a worker has: its upstream pools, verified tokens, metrics and register of connections (design, decision 2). Workers
//! share only what is read without waiting.

use crate::addresses::Addresses;
use crate::admission::RateLimits;
use crate::forward::Pools;
use crate::interaction_id::InteractionIds;
use crate::observe::{ListenerMetrics, Metrics};
use crate::register::Register;
use crate::settings::{ListenerSettings, Settings};
use crate::tls;
use crate::token_cache::TokenCache;
use countersign_pki::TrustAnchors;
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
    /// Told to stop: a connection that comes out of its handshake now is asked to finish like the others.
    pub(crate) stopping: Cell<bool>,
}

/// What the workers share: counters that must be one for the process.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) rate_limits: RateLimits,
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
            settings,
            shared,
            pools: Pools::default(),
            metrics: Metrics::default(),
            interaction_ids: InteractionIds::default(),
            register: Rc::default(),
            stopping: Cell::new(false),
        }
    }
}
