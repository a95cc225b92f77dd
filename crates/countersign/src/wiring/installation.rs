//! An installation, opened: storage, custody of keys, the certificate authority and the token keys.

use super::older_database::{Behind, BehindError, Replayed, replay};
use super::outbox::AUDIT_CHAIN;
use super::reserve::ReserveFile;
use super::space::{Disk, SystemDisk};
use super::start_on_full::try_with_reserve;
use crate::config::Configuration;
use crate::config::secret_ref::{ProcessEnvironment, SecretRef, SecretRefError};
use crate::words::error_chain;
use countersign_ca::{CertificateAuthority, Refusal};
use countersign_keys::{Custody, CustodyError, MasterKey, MasterKeyError};
use countersign_model::audit::Actor;
use countersign_model::{Clock, Reference, Rng};
use countersign_oauth::{Rotation, TokenKeyError, TokenKeyRing};
use countersign_policy::client_auth::Pepper;
use countersign_storage::essential::EssentialStore;
use countersign_storage::{StorageError, Store};
use countersign_storage_sql::{Options, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The organisation in the subjects of the authorities of a new installation.
const ORGANIZATION: &str = "Countersign";

/// SQLite's page: the unit in which it counts how large it is.
const PAGE_BYTES: u64 = 4096;

/// Everything that outlives a configuration.
pub struct Installation {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The same: what revokes through it takes effect also on a full disk.
    pub essential: Arc<EssentialStore>,
    /// The space that is held back for it.
    pub(crate) reserve: Arc<ReserveFile>,
    /// Tells how much space is left.
    pub disk: Arc<dyn Disk>,
    /// The database behind it, to be closed at the end.
    pub database: Arc<SqliteStore>,
    /// Opens keys.
    pub custody: Arc<Custody>,
    /// Signs certificates.
    pub ca: Arc<CertificateAuthority>,
    /// Signs tokens.
    pub token_keys: Arc<TokenKeyRing>,
    /// What secrets are compared under.
    pub pepper: Pepper,
    /// Tells the present.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes.
    pub rng: Arc<dyn Rng>,
    /// Whether a running server watches the clock for steps. Default: true; a test that moves its clock does itself what
    /// follows.
    pub watches_clock: bool,
}

/// What becomes of a database that lacks events of its own audit log (rule R7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// It is not opened.
    Refuse,
    /// What takes rights away is applied, then it is opened.
    Replay,
}

/// Why an installation does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The reference to the master key leads nowhere.
    #[error("the master key: {0}")]
    MasterReference(#[from] SecretRefError),
    /// What it leads to is no master key, or others may read it.
    #[error("the master key: {0}")]
    MasterKey(#[from] MasterKeyError),
    /// The database does not open.
    #[error(transparent)]
    Database(#[from] countersign_storage_sql::OpenError),
    /// The database cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database is older than its audit log.
    #[error("{0}")]
    Behind(Box<Behind>),
    /// It is not known whether the database is older than its audit log.
    #[error(transparent)]
    BehindUnknown(#[from] BehindError),
    /// The authorities cannot be made or opened.
    #[error("the certificate authority: {0}")]
    Authority(#[from] Refusal),
    /// The token keys cannot be made or opened.
    #[error("the token keys: {0}")]
    TokenKeys(#[from] TokenKeyError),
    /// A key does not open: most often the master key is another one than the database was made with.
    #[error("a key does not open: {0}")]
    Custody(#[from] CustodyError),
    /// The disk is full.
    #[error("the disk of {} is full, {free} bytes are left", path.display())]
    DiskFull {
        /// The directory of the database.
        path: PathBuf,
        /// How many bytes are left.
        free: u64,
        /// What failed.
        source: Box<OpenError>,
    },
}

impl Installation {
    /// Opens the installation, and makes what a new one lacks: the schema, the authorities, the first token key. What
    /// was pending when the program stopped is given up, and lists that are due are published. On a full disk the reserve is
    /// given up for it, once.
    ///
    /// # Errors
    /// The first thing that does not open; whatever was made before it stays and is found the next time.
    pub async fn open(
        configuration: &Configuration,
        environment: &dyn ProcessEnvironment,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, OpenError> {
        Self::open_or(Older::Refuse, configuration, environment, clock, rng).await
    }

    /// The same, for a database that may be older than its audit log: `Replay` applies what the log knows beyond it.
    ///
    /// # Errors
    /// As [`Installation::open`].
    pub async fn open_or(
        older: Older,
        configuration: &Configuration,
        environment: &dyn ProcessEnvironment,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, OpenError> {
        let database = &configuration.storage.database;
        let reserve = Arc::new(ReserveFile::of(database, configuration.storage.disk_reserve));
        let directory = database.parent().unwrap_or(Path::new("."));
        let attempt = async || {
            Self::open_with(&reserve, older, configuration, environment, clock.clone(), rng.clone()).await
        };
        try_with_reserve(reserve.as_ref(), &SystemDisk, directory, attempt).await
    }

    async fn open_with(
        reserve: &Arc<ReserveFile>,
        older: Older,
        configuration: &Configuration,
        environment: &dyn ProcessEnvironment,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, OpenError> {
        let master = master_key(&configuration.keys.master, environment)?;
        let max_page_count = configuration.storage.max_bytes.map(|bytes| bytes / PAGE_BYTES);
        let options = Options {
            max_page_count: max_page_count.map(|pages| u32::try_from(pages).unwrap_or(u32::MAX)),
            ..Options::new(clock.clone())
        };
        let database = Arc::new(SqliteStore::open(&configuration.storage.database, options).await?);
        let essential = Arc::new(EssentialStore::new(database.clone(), reserve.clone()));
        let store: Arc<dyn Store> = essential.clone();
        // Before anything is made or published: rule R7.
        if let Some(behind) = Behind::of(store.as_ref(), AUDIT_CHAIN, &configuration.audit.directory).await? {
            if older == Older::Refuse || behind.is_new {
                return Err(OpenError::Behind(Box::new(behind)));
            }
            let Replayed { applied, left } =
                replay(store.as_ref(), &behind, clock.now(), rng.as_ref()).await?;
            tracing::warn!(
                events = behind.lacking.len(),
                applied,
                "the database was older than the audit log: what takes rights away was applied"
            );
            for event in left {
                tracing::warn!(event, "not applied, or not by itself: look at it");
            }
        }
        let custody = Arc::new(Custody::new(master, rng.clone()));
        let pepper = Pepper::new(&custody.pepper());

        let settings = countersign_ca::Settings {
            issuer: configuration.issuer.clone(),
            documents: configuration.pki_url(),
            organization: ORGANIZATION.to_owned(),
        };
        CertificateAuthority::initialize(&settings, &store, &custody, &clock, &rng).await?;
        let ca =
            CertificateAuthority::open(settings, store.clone(), custody.clone(), clock.clone(), rng.clone());
        let ca = Arc::new(ca.await?);
        match ca.recover().await {
            Ok(0) => {}
            Ok(abandoned) => {
                tracing::warn!(
                    abandoned,
                    "certificates were pending when the program stopped: they go onto the CRL"
                );
            }
            Err(error) => {
                tracing::error!(
                    error = error_chain(&error),
                    "what was pending when the program stopped is not given up yet"
                )
            }
        }
        // Both are tried again every minute: whoever restarts a node with a full disk needs it to serve.
        if let Err(error) = ca.publish_due_crls().await {
            tracing::error!(error = error_chain(&error), "a CRL that is due is not published");
        }

        let now = clock.now();
        let token_keys = Arc::new(TokenKeyRing::load(store.as_ref(), custody.clone(), now).await?);
        if token_keys.signer(now).is_none() {
            let reference = Reference::generate(now, rng.as_ref());
            token_keys.rotate(store.as_ref(), Rotation::Now, Actor::System, reference, now).await?;
        }
        let disk = Arc::new(SystemDisk);
        Ok(Self {
            store,
            essential,
            reserve: reserve.clone(),
            disk,
            database,
            custody,
            ca,
            token_keys,
            pepper,
            clock,
            rng,
            watches_clock: true,
        })
    }
}

fn master_key(reference: &SecretRef, environment: &dyn ProcessEnvironment) -> Result<MasterKey, OpenError> {
    match reference.path(environment)? {
        // Read by `keys`, which refuses a file that others may read.
        Some(path) => {
            let (key, is_open_to_group) = MasterKey::read_file(&path)?;
            if is_open_to_group {
                tracing::warn!(
                    file = %path.display(),
                    "the master key's file is readable by its group; everybody in that group can open all keys"
                );
            }
            Ok(key)
        }
        None => Ok(MasterKey::from_text(reference.read(environment)?.expose())?),
    }
}
