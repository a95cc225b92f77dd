//! The whole server: started in the order of its needs, stopped in the opposite one.

use super::connections::OpenConnections;
use super::follow::{react, reload_operators};
use super::memory::give_back;
use super::outbox::{AUDIT_CHAIN, Delivery, StoredHeads};
use super::policy::{self, PolicyError};
use super::space::SpaceWatch;
use super::start_on_full::try_with_reserve;
use super::timers::{Upkeep, warn_of_ending_issuers, write_uses};
use super::tls::{CertificateError, Loaded, Present, Purpose, ServerCertificates};
use super::{Installation, metrics};
use crate::config::sections::listeners::{Listener, Serve};
use crate::config::{Configuration, LOCAL_NAMES, reload};
use crate::process;
use crate::words::error_chain;
use arc_swap::ArcSwap;
use countersign_api::documents::CA_BUNDLE_PATH;
use countersign_api::{Context, Service};
use countersign_audit::{AuditError, AuditLog, Head, LogSettings, RecordHash, Recorder, RecorderSettings};
use countersign_gateway::descriptors::TooFew;
use countersign_gateway::essential_tasks::EssentialTasks;
use countersign_gateway::resolve::SystemResolver;
use countersign_gateway::settings::{
    ClientCertificateRequest, Limits, ListenerSettings, LocalPaths, Settings, Snapshot,
};
use countersign_gateway::{Descriptors, Gateway};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::certificate::IssuerRole;
use countersign_model::change::Change;
use countersign_model::{ReasonCode, Reference};
use countersign_oauth::budget::TokenBudget;
use countersign_oauth::{Metadata, TokenEndpoint};
use countersign_pki::TrustAnchors;
use countersign_policy::Registry;
use countersign_policy::client_auth::throttle::{Patience, ThrottleTable};
use countersign_policy::route::TrustConfigurations;
use countersign_storage::StorageError;
use countersign_storage::space::Space;
use countersign_storage::usage::Usage;
use countersign_storage::views::{Views, follow};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

/// The name of the admin listener, in metrics and logs.
pub const ADMIN_LISTENER: &str = "admin";

/// How many callers with failed attempts are remembered.
const THROTTLED_CALLERS: usize = 100_000;

/// A running server.
pub struct Server {
    configuration: ArcSwap<Configuration>,
    installation: Installation,
    context: Arc<Context>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// The host names of each listener.
    trust: Vec<(String, Arc<ArcSwap<TrustConfigurations>>)>,
    connections: Arc<OpenConnections>,
    upkeep: Arc<Upkeep>,
    watch_space: Arc<SpaceWatch>,
    recorder: Recorder,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    outbox: (watch::Sender<bool>, JoinHandle<()>),
    essential_tasks: EssentialTasks,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Storage cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The audit log does not open: without it nothing is served.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The disk of the database is full.
    #[error("the disk of {} is full, {free} bytes are left", path.display())]
    DiskFull {
        /// The directory of the database.
        path: PathBuf,
        /// How many bytes are left.
        free: u64,
        /// What failed.
        source: Box<StartError>,
    },
    /// The audit log's writer does not start.
    #[error("the audit log's writer does not start: {0}")]
    Thread(#[from] std::io::Error),
    /// The configuration is refused by a part.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A listener has no certificate.
    #[error("listener {listener}: {source}")]
    Certificate {
        /// Which listener.
        listener: String,
        /// Why.
        source: CertificateError,
    },
    /// The authority's certificates cannot be read.
    #[error("the certificate authority: {0}")]
    Authority(#[from] countersign_ca::Refusal),
    /// The process may have too few open files.
    #[error(transparent)]
    OpenFiles(#[from] TooFew),
    /// The data path does not start.
    #[error(transparent)]
    Gateway(#[from] countersign_gateway::StartError),
}

/// Why a reload is refused; the configuration from before keeps running.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It changes what a running process cannot change.
    #[error("a restart is needed for: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// A part refuses it.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A certificate file cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl ReloadError {
    fn reason(&self) -> ReasonCode {
        match self {
            Self::NeedsRestart(_) => ReasonCode::ConfigurationNeedsRestart,
            Self::Policy(_) | Self::Certificate(_) => ReasonCode::ConfigurationInvalid,
        }
    }
}

impl Server {
    /// Starts everything that `configuration` asks for. Returns when every listener is bound and answers.
    ///
    /// # Errors
    /// The first part that does not start.
    pub async fn start(configuration: Configuration, installation: Installation) -> Result<Self, StartError> {
        let Installation { store, essential, custody, ca, token_keys, pepper, clock, rng, .. } =
            &installation;
        let now = clock.now();
        let exporter = metrics::exporter();
        let directory = configuration.storage.database.parent().unwrap_or(Path::new("."));
        let start = async || start_recorder(&configuration, &installation).await;
        let (reserve, disk) = (installation.reserve.as_ref(), installation.disk.as_ref());
        let recorder = try_with_reserve(reserve, disk, directory, start).await?;
        let outbox = Arc::new(Delivery {
            store: store.clone(),
            recorder: recorder.clone(),
            chain: AUDIT_CHAIN.to_owned(),
            carrying: Mutex::default(),
        });
        let views = Arc::new(Views::load(store.as_ref(), now).await?);
        recorder.registered_by({
            let views = views.clone();
            move |client| Registry::client(&*views, client).is_some()
        });
        let usage = Arc::new(Usage::default());
        let throttle = Arc::new(ThrottleTable::new(Patience::default(), THROTTLED_CALLERS));
        let oauth = policy::oauth(&configuration)?;
        let connections = Arc::new(OpenConnections::new(views.clone()));

        let space = Arc::new(Space::default());
        let database = configuration.storage.database.parent().map(Path::to_owned).unwrap_or_default();
        let watch_space = Arc::new(SpaceWatch {
            disk: installation.disk.clone(),
            paths: [("database", database), ("audit_log", configuration.audit.directory.clone())],
            told_unknown_ms: AtomicI64::new(i64::MIN / 2),
            database: installation.database.files(),
            floor: configuration.storage.disk_floor,
            space: space.clone(),
            reserve: installation.reserve.clone(),
            store: essential.clone(),
            ca: ca.clone(),
            recorder: recorder.clone(),
            clock: clock.clone(),
        });
        watch_space.look();

        let certificates = certificates(&configuration, &installation).await?;
        for (listener, certificate) in &certificates {
            certificate.warn_of_end(listener, now);
        }
        warn_of_ending_issuers(ca, now);
        let context = Arc::new(Context {
            server_certificates: Arc::new(ServerCertificates(certificates.clone())),
            issuer: configuration.issuer.clone(),
            store: store.clone(),
            essential: essential.clone(),
            space: space.clone(),
            views: views.clone(),
            ca: ca.clone(),
            metadata: ArcSwap::from_pointee(Metadata::new(&oauth)),
            tokens: Arc::new(TokenEndpoint {
                settings: ArcSwap::from_pointee(oauth),
                keys: token_keys.clone(),
                views: views.clone(),
                pepper: pepper.clone(),
                throttle: throttle.clone(),
                budget: TokenBudget::default(),
                usage: usage.clone(),
                rng: rng.clone(),
            }),
            token_keys: token_keys.clone(),
            connections: connections.clone(),
            operators: ArcSwap::default(),
            pepper: pepper.clone().into(),
            recorder: recorder.clone(),
            outbox: outbox.clone(),
            max_staleness: configuration.storage.max_staleness,
            audit_directory: configuration.audit.directory.clone(),
            audit_chain: AUDIT_CHAIN.to_owned(),
            metrics: exporter,
            clock: clock.clone(),
            rng: rng.clone(),
        });
        reload_operators(&context).await?;

        let snapshot = Arc::new(ArcSwap::from_pointee(policy::snapshot(&configuration)?));
        let listeners = listeners(&configuration, &certificates);
        let trust =
            listeners.iter().map(|listener| (listener.name.clone(), listener.trust.clone())).collect();
        let essential_tasks = EssentialTasks::default();
        let workers = process::workers();
        let descriptors = Descriptors::within(process::open_files(), workers, listeners.len())?;
        let callers = descriptors.callers;
        let running = Gateway::start(Settings {
            listeners,
            workers,
            descriptors,
            issuer: configuration.issuer.clone(),
            snapshot: snapshot.clone(),
            anchors: Arc::new(ArcSwap::from_pointee(TrustAnchors::new(ca.trusted(IssuerRole::Clients)?))),
            token_keys: token_keys.verification(),
            registry: views.clone(),
            pepper: pepper.clone().into(),
            throttle,
            usage: usage.clone(),
            recorder: recorder.clone(),
            clock: clock.clone(),
            rng: rng.clone(),
            essential_tasks: essential_tasks.clone(),
            resolver: Arc::new(SystemResolver),
            local: Arc::new(Service::new(context.clone(), ADMIN_LISTENER, Handle::current())),
        })?;
        warn_of_unreachable_limit(&configuration, callers);
        *connections.running.write().await = Some(running);

        let upkeep = Arc::new(Upkeep {
            context: context.clone(),
            custody: custody.clone(),
            certificates,
            forgotten: AtomicU64::default(),
            warned_on_day: AtomicI64::new(now.unix_s().div_euclid(86_400)),
            watches_clock: installation.watches_clock,
            turn: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let (changed, changes) = mpsc::unbounded_channel();
        // What cannot be stored is enforced by the views, and cuts connections as a change of the feed does.
        // Weak: the receiving task ends with the follower of the feed.
        let (enforced, at) = (changed.downgrade(), clock.clone());
        essential.attach(views.clone(), move |subject| {
            if let Some(enforced) = enforced.upgrade() {
                drop(enforced.send(Change { sequence: 0, at: at.now(), subject }));
            }
        });
        let tasks =
            vec![
                tokio::spawn(essential_tasks.clone().runs(
                    "the change feed",
                    follow(
                        views,
                        store.clone(),
                        clock.clone(),
                        move |change| drop(changed.send(change.clone())),
                        stopped.clone(),
                    ),
                )),
                tokio::spawn(essential_tasks.clone().runs(
                    "the task that applies changes",
                    react(changes, context.clone(), connections.clone()),
                )),
                tokio::spawn(
                    essential_tasks.clone().runs("the upkeep task", upkeep.clone().run(stopped.clone())),
                ),
                tokio::spawn(
                    essential_tasks.clone().runs("the task that returns memory", give_back(stopped.clone())),
                ),
                tokio::spawn(
                    essential_tasks
                        .clone()
                        .runs("the task that watches the disks", watch_space.clone().run(stopped.clone())),
                ),
                tokio::spawn(essential_tasks.clone().runs(
                    "the task that writes last-used times",
                    write_uses(store.clone(), usage, space, stopped),
                )),
            ];
        // The outbox has a signal of its own: it is delivered after everything else has stopped.
        let (last, stopping) = watch::channel(false);
        let delivery = tokio::spawn(
            essential_tasks.clone().runs("the task that delivers audit events", outbox.run(stopping)),
        );
        metrics::reloaded(true);

        let server = Self {
            configuration: ArcSwap::from_pointee(configuration),
            context,
            snapshot,
            trust,
            connections,
            upkeep,
            watch_space,
            recorder,
            stop,
            tasks,
            outbox: (last, delivery),
            essential_tasks,
            installation,
        };
        server.record(AuditAction::Started, None, None);
        Ok(server)
    }

    /// Where a listener listens, the admin listener included; of use with port 0.
    pub async fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        self.connections.running.read().await.as_ref()?.local_addr(listener)
    }

    /// What the control endpoints work with: for tests, and for `quickstart`.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Does what is due by the clock, now: for tests that move the clock.
    pub async fn upkeep(&self) {
        self.upkeep.once().await;
        self.watch_space.once().await;
    }

    /// Does what follows when the clock was set: for tests that move the clock.
    pub async fn after_clock_step(&self) {
        self.upkeep.after_step().await;
    }

    /// Takes over a new configuration without dropping a connection, or refuses it as a whole (design, decision 24).
    ///
    /// # Errors
    /// When it needs a restart or a part refuses it; the configuration from before keeps running.
    pub async fn reload(&self, new: Configuration) -> Result<(), ReloadError> {
        let taken = self.take_over(new).await;
        metrics::reloaded(taken.is_ok());
        match &taken {
            Ok(()) => self.record(AuditAction::ConfigurationReloaded, None, None),
            Err(error) => {
                let reason = error.reason();
                self.record(AuditAction::ConfigurationRefused, Some(reason), Some(error_chain(error)));
            }
        }
        taken
    }

    async fn take_over(&self, new: Configuration) -> Result<(), ReloadError> {
        let changes = reload::needs_restart(&self.configuration.load(), &new);
        if !changes.is_empty() {
            return Err(ReloadError::NeedsRestart(changes));
        }
        // Everything is made before anything is swapped.
        let (snapshot, oauth) = (policy::snapshot(&new)?, policy::oauth(&new)?);
        let Installation { ca, custody, clock, .. } = &self.installation;
        let now = clock.now();
        let mut certificates = Vec::new();
        for (listener, present) in &self.upkeep.certificates {
            let tls = new
                .listeners
                .iter()
                .find(|new| new.name.as_str() == listener)
                .and_then(|new| new.tls.as_ref());
            if let Some(tls) = tls {
                let source = tls.certificate.clone();
                certificates.push((present, Loaded::load(source, ca, custody, Purpose::Replace, now).await?));
            }
        }
        for (present, loaded) in certificates {
            present.swap(loaded);
        }
        for listener in &new.listeners {
            let present = self.trust.iter().find(|(name, _)| name == listener.name.as_str());
            if let Some((_, present)) = present {
                present.store(Arc::new(trust(listener)));
            }
        }
        self.snapshot.store(Arc::new(snapshot));
        self.context.metadata.store(Arc::new(Metadata::new(&oauth)));
        self.context.tokens.settings.store(Arc::new(oauth));
        self.configuration.store(Arc::new(new));
        // At once: an alert on the old date would go on for a minute.
        metrics::publish(&self.context, &self.upkeep.certificates);
        for (listener, certificate) in &self.upkeep.certificates {
            certificate.warn_of_end(listener, now);
        }
        Ok(())
    }

    /// Waits until an essential task ends unexpectedly, and returns its name. The server must be shut down then.
    pub async fn lost_task(&self) -> String {
        self.essential_tasks.lost().await.into_owned()
    }

    /// How long the requests in flight may take when the server stops.
    pub fn shutdown_timeout(&self) -> Duration {
        self.configuration.load().limits.shutdown_timeout
    }

    /// Says that a new configuration could not even be read; the one from before keeps running.
    pub fn refuse_reload(&self, detail: String) {
        metrics::reloaded(false);
        self.record(AuditAction::ConfigurationRefused, Some(ReasonCode::ConfigurationInvalid), Some(detail));
    }

    /// Stops in order: no new connections, requests in flight to their end, what was gathered to disk, the log closed.
    ///
    /// # Errors
    /// When the audit log or the database does not take what is left.
    pub async fn shutdown(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.essential_tasks.stop();
        let running = self.connections.running.write().await.take();
        if let Some(running) = running {
            running.shutdown().await;
        }
        self.record(AuditAction::Stopped, None, None);
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await; // one that panicked has said so
        }
        self.watch_space.last_attempt().await;
        let (last, delivery) = self.outbox;
        let _ = last.send(true);
        let _ = delivery.await;
        self.recorder.close().await?;
        self.installation.database.close().await?;
        Ok(())
    }

    fn record(&self, action: AuditAction, reason: Option<ReasonCode>, detail: Option<String>) {
        let now = self.installation.clock.now();
        let reference = Reference::generate(now, self.installation.rng.as_ref());
        let facts = Facts { detail, ..Facts::default() };
        let event = AuditEvent::done(reference, now, action, Actor::System, facts);
        self.recorder.record(AuditEvent { reason, ..event });
    }
}

/// Warns of a limit that the operator chose and that open files do not allow: nothing else tells before it is needed. The
/// default is above what most systems allow, and is no choice.
fn warn_of_unreachable_limit(configuration: &Configuration, callers: usize) {
    let asked = configuration.limits.connections;
    if callers < asked && asked != Limits::default().connections {
        tracing::warn!(
            asked,
            allowed = callers,
            "the limit of open files allows fewer connections than [limits] connections"
        );
    }
}

async fn start_recorder(
    configuration: &Configuration,
    installation: &Installation,
) -> Result<Recorder, StartError> {
    let Installation { store, clock, rng, .. } = installation;
    let stored = store.audit_head(AUDIT_CHAIN).await?;
    let stored = stored.map(|head| Head { sequence: head.sequence, hash: RecordHash(head.hash) });
    let settings = LogSettings {
        max_segment_bytes: configuration.audit.segment_bytes,
        max_segment_age: configuration.audit.segment_age,
    };
    let log = AuditLog::open(&configuration.audit.directory, settings, stored, clock.now(), rng.as_ref())?;
    let heads = Arc::new(StoredHeads { store: store.clone(), chain: AUDIT_CHAIN.to_owned() });
    let before_answer = configuration.audit.before_answer;
    let settings = RecorderSettings { before_answer, ..RecorderSettings::default() };
    Ok(Recorder::start(log, settings, heads, clock.clone(), rng.clone(), &Handle::current())?)
}

async fn certificates(
    configuration: &Configuration,
    installation: &Installation,
) -> Result<Vec<(String, Arc<Present>)>, StartError> {
    let mut certificates = Vec::new();
    for listener in &configuration.listeners {
        let Some(tls) = &listener.tls else { continue };
        let Installation { ca, custody, clock, .. } = installation;
        let present = Present::load(tls.certificate.clone(), ca, custody, clock.now()).await;
        let listener = listener.name.to_string();
        let present =
            present.map_err(|source| StartError::Certificate { listener: listener.clone(), source })?;
        certificates.push((listener, Arc::new(present)));
    }
    Ok(certificates)
}

fn listeners(
    configuration: &Configuration,
    certificates: &[(String, Arc<Present>)],
) -> Vec<ListenerSettings> {
    let mut listeners: Vec<_> = configuration
        .listeners
        .iter()
        .map(|listener| {
            let certificate = certificates.iter().find(|(name, _)| name == listener.name.as_str());
            ListenerSettings {
                name: listener.name.to_string(),
                address: listener.address,
                certificate: certificate.map(|(_, certificate)| certificate.clone() as _),
                client_certificate: listener
                    .tls
                    .as_ref()
                    .map_or(ClientCertificateRequest::Off, |tls| tls.client_certificate),
                operators: false,
                routes: listener.serve.contains(&Serve::Routes),
                local: local_paths(listener),
                trust: Arc::new(ArcSwap::from_pointee(trust(listener))),
            }
        })
        .collect();
    listeners.push(ListenerSettings {
        name: ADMIN_LISTENER.to_owned(),
        address: configuration.admin.listen,
        certificate: None, // on a loopback address only: the configuration sees to it (rule T1)
        client_certificate: ClientCertificateRequest::Off,
        operators: true,
        routes: false,
        local: LocalPaths::All,
        trust: Arc::new(ArcSwap::from_pointee(admin_trust(configuration.admin.listen.ip()))),
    });
    listeners
}

/// Rule T5. Without `hosts` any name is answered: routes may have hosts of their own.
fn trust(listener: &Listener) -> TrustConfigurations {
    let hosts = listener.answered_hosts();
    if hosts.is_empty() {
        TrustConfigurations::default()
    } else {
        TrustConfigurations::only(hosts.iter().map(|host| as_in_host_field(host)))
    }
}

/// This machine's own names only. Metrics and health need no credential: a page in a browser on this machine, whose name
/// resolves to a loopback address (DNS rebinding), would read them.
fn admin_trust(listen: IpAddr) -> TrustConfigurations {
    let listen = listen.to_string();
    TrustConfigurations::only(LOCAL_NAMES.into_iter().chain([listen.as_str()]).map(as_in_host_field))
}

/// In a Host field an IPv6 address stands between brackets (RFC 3986 section 3.2.2), in a certificate it does not.
fn as_in_host_field(host: &str) -> String {
    host.parse::<Ipv6Addr>().map_or_else(|_| host.to_owned(), |address| format!("[{address}]"))
}

fn local_paths(listener: &Listener) -> LocalPaths {
    let mut prefixes = Vec::new();
    let serves = |what| listener.serve.contains(&what);
    if serves(Serve::Oauth2) {
        prefixes.push("/oauth2/");
    }
    // Challenges lead to the metadata and the pages, so they are where the routes are.
    if serves(Serve::Oauth2) || serves(Serve::Routes) {
        prefixes.extend(["/.well-known/", "/problems/"]);
    }
    if serves(Serve::Pki) {
        prefixes.push("/pki/");
    } else if serves(Serve::Oauth2) || serves(Serve::Routes) {
        prefixes.push(CA_BUNDLE_PATH);
    }
    LocalPaths::Prefixes(prefixes)
}
