//! The keys that sign access tokens: which one signs now, which ones are published, and how one follows another
//! (rule K9; design, decision 25).
//!
//! A key is published at once, signs once every cache of the JWKS has seen it, and stays published until the last token
//! that it signed has expired. It signs tokens and nothing else. In an emergency the keys before it are gone at once.

mod published;
mod rotation;

pub use published::{JWKS_MAX_AGE_S, PublishedKeys};
pub use rotation::{Rotated, Rotation};

use arc_swap::ArcSwap;
use countersign_keys::{Custody, CustodyError, Signer};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::{KeyId, ReasonCode, Timestamp};
use countersign_storage::{StorageError, Store};
use countersign_token::{KeyError, VerificationKeys};
use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use tokio::sync::Mutex;

/// The token keys of this node. Rebuilt by [`TokenKeyRing::reload`] when the change feed says so; readers never wait.
pub struct TokenKeyRing {
    custody: Arc<Custody>,
    /// Held by whoever reads the stored keys and then acts on what it read: two rotations side by side would both publish a
    /// key, and a reload that read before an emergency would put the key in other hands back after it.
    changing: Mutex<()>,
    keys: ArcSwap<Keys>,
    verification: Arc<ArcSwap<VerificationKeys>>,
    /// Keys that ended before their tokens did, until somebody asks.
    ended: StdMutex<Vec<KeyId>>,
}

struct Keys {
    /// All of them, those that only verify too.
    records: Vec<(KeyId, Option<Timestamp>)>,
    signing: Vec<SigningKey>,
    published: Arc<PublishedKeys>,
}

struct SigningKey {
    record: KeyRecord,
    signer: Arc<dyn Signer>,
}

/// Why there is no ring, or no rotation.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// Storage failed.
    #[error("the token keys cannot be read or written")]
    Storage(#[from] StorageError),
    /// A key does not open.
    #[error("a token key cannot be opened")]
    Custody(#[from] CustodyError),
    /// A stored public key is none: the database was changed.
    #[error("the public key of {0} is not usable: {1}")]
    PublicKey(KeyId, KeyError),
    /// The stored public keys make no set: the database was changed.
    #[error("the token keys make no key set: {0}")]
    KeySet(KeyError),
    /// Another rotation was ordered at the same time and came first: its key would end with this one.
    #[error("another rotation came first: look at the key set, and rotate again if that is still needed")]
    Overtaken,
    /// The rotation is on disk, and this node works with the keys from before until it has read the new ones.
    #[error("the rotation is committed, but this node has not read the new keys yet: {0}")]
    NotInForce(Box<TokenKeyError>),
    /// An emergency that cannot be stored: the keys before are withdrawn all the same.
    #[error(
        "the token keys before are withdrawn, {ended} of them: this node refuses their tokens from now on, until it restarts. \
         It is not stored, no new key is made, and no tokens are issued: {why}"
    )]
    Withdrawn {
        /// How many keys.
        ended: usize,
        /// Why storage failed.
        why: String,
    },
    /// A rotation is under way already.
    #[error("the key {key} follows already; it signs from {signs_from} on")]
    Pending {
        /// The key that was published.
        key: KeyId,
        /// From when on it signs.
        signs_from: Timestamp,
    },
}

impl TokenKeyError {
    /// What the caller of the admin API is told.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Storage(error) => error.reason(),
            Self::Custody(_) | Self::PublicKey(..) | Self::KeySet(_) => ReasonCode::InternalError,
            Self::Pending { .. } | Self::Overtaken => ReasonCode::ObjectConflict,
            Self::NotInForce(_) => ReasonCode::ChangeNotInForce,
            Self::Withdrawn { .. } => ReasonCode::NotStored,
        }
    }
}

impl TokenKeyRing {
    /// Opens the token keys in storage. There may be none yet: then nothing is signed.
    ///
    /// # Errors
    /// When storage fails or a key does not open.
    pub async fn load(
        store: &dyn Store,
        custody: Arc<Custody>,
        now: Timestamp,
    ) -> Result<Self, TokenKeyError> {
        let keys = Keys::load(store, &custody, now).await?;
        let verification = Arc::new(ArcSwap::new(keys.published.verification().clone()));
        Ok(Self {
            custody,
            changing: Mutex::default(),
            keys: ArcSwap::from_pointee(keys),
            verification,
            ended: StdMutex::default(),
        })
    }

    /// Reads the keys anew. On failure the ring stays as it was.
    ///
    /// # Errors
    /// As [`TokenKeyRing::load`].
    pub async fn reload(&self, store: &dyn Store, now: Timestamp) -> Result<(), TokenKeyError> {
        let _alone = self.changing.lock().await;
        self.read_anew(store, now).await
    }

    /// For who holds `changing`.
    async fn read_anew(&self, store: &dyn Store, now: Timestamp) -> Result<(), TokenKeyError> {
        self.take_over(Keys::load(store, &self.custody, now).await?, now);
        Ok(())
    }

    /// For who holds `changing`.
    fn take_over(&self, keys: Keys, now: Timestamp) {
        let gone = self.keys.load().ended_by(&keys, now);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
        // In this order: a new key verifies before anything is signed by it, so that no fresh token is refused.
        self.verification.store(keys.published.verification().clone());
        self.keys.store(Arc::new(keys));
    }

    /// The keys that were withdrawn in an emergency since the last call: streams that their tokens began must end too. A key
    /// that retired as planned is not among them.
    pub fn take_ended(&self) -> Vec<KeyId> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key that signs at `now`: of those that have begun and not ended, the one that began last.
    pub fn signer(&self, now: Timestamp) -> Option<Arc<dyn Signer>> {
        let keys = self.keys.load();
        let order = |key: &&SigningKey| (key.record.signs_from, key.record.created_at);
        let present = keys.signing.iter().filter(|key| signs_at(&key.record, now)).max_by_key(order);
        // One that was made in a day to come was made by a clock that was ahead. When nothing else signs, as after an
        // emergency, waiting until that day would issue no token for as long.
        let made_ahead = || keys.signing.iter().filter(|key| key.record.created_at > now).min_by_key(order);
        present.or_else(made_ahead).map(|key| key.signer.clone())
    }

    /// What this node's gateway verifies with, kept current by [`TokenKeyRing::reload`].
    pub fn verification(&self) -> Arc<ArcSwap<VerificationKeys>> {
        self.verification.clone()
    }

    /// The public halves, for the JWKS.
    pub fn published(&self) -> Arc<PublishedKeys> {
        self.keys.load().published.clone()
    }
}

impl fmt::Debug for TokenKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.load();
        f.debug_list().entries(keys.signing.iter().map(|key| &key.record.id)).finish()
    }
}

impl Keys {
    async fn load(store: &dyn Store, custody: &Custody, now: Timestamp) -> Result<Self, TokenKeyError> {
        Self::of(store.keys(KeyPurpose::Token).await?, custody, now)
    }

    fn of(records: Vec<KeyRecord>, custody: &Custody, now: Timestamp) -> Result<Self, TokenKeyError> {
        let published = Arc::new(PublishedKeys::from_records(&records, now)?);
        let kept = records.iter().map(|record| (record.id.clone(), record.retired_at)).collect();
        let may_sign =
            records.into_iter().filter(|record| record.retired_at.is_none_or(|retired_at| now < retired_at));
        let open = |record: KeyRecord| Ok(SigningKey { signer: custody.signer(&record)?, record });
        let signing = may_sign.map(open).collect::<Result<_, CustodyError>>()?;
        Ok(Self { records: kept, signing, published })
    }

    /// Which of these keys are not in `next`, though at `now` tokens of theirs are still good.
    fn ended_by(&self, next: &Self, now: Timestamp) -> Vec<KeyId> {
        let is_gone = |id: &KeyId| !next.records.iter().any(|(kept, _)| kept == id);
        let was_needed = |retired_at: Option<Timestamp>| !published::is_over(retired_at, now);
        let ended = self.records.iter().filter(|(id, retired_at)| is_gone(id) && was_needed(*retired_at));
        ended.map(|(id, _)| id.clone()).collect()
    }
}

fn signs_at(record: &KeyRecord, now: Timestamp) -> bool {
    record.signs_from <= now && record.retired_at.is_none_or(|retired_at| now < retired_at)
}
