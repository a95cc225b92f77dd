use super::*;
use crate::conformance::fixtures::{
    FixedClock, NOW, client, client_id, credential_id, event, issuer_id, key, pending, secret, serial,
};
use crate::memory::{Fails, MemoryStore};
use crate::stores::{AuditOutbox, CertificateStore, ClientStore, Commit, KeyStore};
use countersign_model::audit::{AuditAction, AuditEvent, CertificateRef};
use countersign_model::certificate::RevocationReason;
use countersign_model::client::{ClientState, Credential, CredentialKind, CredentialState};
use countersign_model::key::KeyPurpose;
use countersign_model::{CredentialId, Thumbprint};
use countersign_policy::Registry;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::Duration;

struct NoReserve;

impl Reserve for NoReserve {
    fn give_up(&self) -> bool {
        false
    }
}

/// It is a store like any other as long as the backend is one.
async fn with_store(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let inner = Arc::new(MemoryStore::new(Arc::new(FixedClock)));
    case(Arc::new(EssentialStore::new(inner, Arc::new(NoReserve)))).await;
}

crate::conformance_tests!(with_store);

const CLIENTS: [&str; 2] = ["acme-pay", "test-shop"];
const CERTIFICATES_EACH: u64 = 3;

/// A small generator: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Something that has ended, or is to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Certificate(u64),
    Client(&'static str),
    Secret(String),
    Key(String),
}

/// A node whose backend fails as it is told to, and what was promised to its operators.
struct Node {
    inner: Arc<MemoryStore>,
    store: EssentialStore,
    /// What was acknowledged as stored or enforced, and when first.
    promised: BTreeMap<Object, Timestamp>,
    events: u64,
    credentials: u64,
    time: Timestamp,
}

impl Node {
    async fn new() -> Self {
        let inner = Arc::new(MemoryStore::new(Arc::new(FixedClock)));
        let mut setup = Transaction::new();
        let mut credentials = 0;
        for (at, name) in (0..).zip(CLIENTS) {
            setup = setup.write(Write::InsertClient(client(name)));
            for _ in 0..2 {
                credentials += 1;
                setup = setup.write(Write::InsertCredential(secret(name, credentials)));
            }
            for n in at * CERTIFICATES_EACH..(at + 1) * CERTIFICATES_EACH {
                let mut record = pending(n);
                record.client = Some(client_id(name));
                let (issuer, serial) = (record.issuer.clone(), record.serial);
                let thumbprint = Thumbprint([u8::try_from(n).unwrap(); 32]);
                setup = setup.write(Write::InsertPendingCertificate(record));
                setup = setup.write(Write::MarkIssued { issuer, serial, der: vec![1], thumbprint });
            }
        }
        setup = setup.write(Write::InsertKey(key("first", KeyPurpose::Token)));
        inner.commit(setup).await.unwrap();
        let store = EssentialStore::new(inner.clone(), Arc::new(NoReserve));
        let views = Views::load(inner.as_ref(), NOW).await.unwrap();
        store.attach(Arc::new(views), |_| {});
        Self { inner, store, promised: BTreeMap::new(), events: 0, credentials, time: NOW }
    }

    fn event(&mut self, action: AuditAction) -> AuditEvent {
        self.events += 1;
        AuditEvent { action, at: self.time, ..event(self.events) }
    }

    /// Commits as an operator's call does, and remembers what it was told.
    async fn order(&mut self, transaction: Transaction, objects: Vec<Object>) -> Result<(), StorageError> {
        match self.store.commit(transaction).await {
            Ok(_) | Err(StorageError::NotStored(_)) => {
                for object in objects {
                    self.promised.entry(object).or_insert(self.time);
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn revoke(&mut self, certificates: Vec<u64>, last: Option<Write>) -> Result<(), StorageError> {
        let mut transaction = Transaction::new();
        for &n in &certificates {
            let (issuer, serial) = (issuer_id("clients"), serial(n));
            let mut event = self.event(AuditAction::CertificateRevoked);
            event.facts.certificate =
                Some(CertificateRef { issuer: Some(issuer.clone()), serial: Some(serial), thumbprint: None });
            let reason = RevocationReason::KeyCompromise;
            let write = Write::RevokeCertificate { issuer, serial, at: self.time, reason };
            transaction = transaction.write(write).record(event);
        }
        transaction.writes.extend(last);
        let objects = certificates.into_iter().map(Object::Certificate).collect();
        self.order(transaction, objects).await
    }

    async fn issued(&self, among: Range<u64>) -> Vec<u64> {
        let mut issued = Vec::new();
        for n in among {
            if !self.is_true(&Object::Certificate(n)).await {
                issued.push(n);
            }
        }
        issued
    }

    /// One thing that an operator does, or the timer.
    async fn step(&mut self, numbers: &mut Numbers) {
        self.time = self.time.plus_s(1);
        let which = numbers.below(2);
        let (name, first) = (CLIENTS[usize::try_from(which).unwrap()], which * CERTIFICATES_EACH);
        match numbers.below(7) {
            0 | 1 => {
                let n = numbers.below(CERTIFICATES_EACH * 2);
                if !self.is_true(&Object::Certificate(n)).await {
                    let _ = self.revoke(vec![n], None).await; // a conflict is read again by its caller
                }
            }
            2 => {
                for _ in 0..3 {
                    let left = self.issued(first..first + CERTIFICATES_EACH).await;
                    let none_left = Write::NoCertificateLeft { client: client_id(name), valid_at: NOW };
                    if left.is_empty() || self.revoke(left, Some(none_left)).await.is_ok() {
                        break;
                    }
                }
            }
            3 => self.disable(name).await,
            4 => self.rotate_secret(name).await,
            5 => self.rotate_key().await,
            _ => drop(self.store.store_waiting().await),
        }
    }

    async fn disable(&mut self, name: &'static str) {
        let state = ClientState::Disabled;
        let write = Write::SetClientState { client: client_id(name), state, at: self.time };
        let transaction = Transaction::new().write(write).record(self.event(AuditAction::ClientDisabled));
        let _ = self.order(transaction, vec![Object::Client(name)]).await; // once it is stored, a repeat may fail
    }

    async fn rotate_secret(&mut self, name: &'static str) {
        let (_, credentials) = self.inner.client(&client_id(name)).await.unwrap().unwrap();
        let is_live = |it: &&Credential| {
            it.state == CredentialState::Active && matches!(it.kind, CredentialKind::Secret { .. })
        };
        let known: Vec<CredentialId> = credentials.iter().filter(is_live).map(|it| it.id).collect();
        self.credentials += 1;
        let new = Credential { id: credential_id(self.credentials), ..secret(name, 1) };
        let objects = known.iter().map(|id| Object::Secret(id.to_string())).collect();
        let event = self.event(AuditAction::ClientSecretRotated);
        let write = Write::ReplaceSecrets { new, known, others_end_at: None };
        // A disabled client gets no new secret.
        let _ = self.order(Transaction::new().write(write).record(event), objects).await;
    }

    async fn rotate_key(&mut self) {
        let before = self.store.keys(KeyPurpose::Token).await.unwrap();
        let event = self.event(AuditAction::TokenKeyRotated);
        let new = key(&format!("key-{}", self.events), KeyPurpose::Token);
        let mut transaction = Transaction::new().write(Write::InsertKey(new)).record(event);
        let mut objects = Vec::new();
        for key in before {
            objects.push(Object::Key(key.id.0.clone()));
            transaction = transaction.write(Write::DeleteKey { key: key.id });
        }
        let _ = self.order(transaction, objects).await; // the very first may have no key before it
        let keys = self.store.keys(KeyPurpose::Token).await.unwrap();
        for key in keys {
            assert!(!self.promised.contains_key(&Object::Key(key.id.0.clone())), "{key:?} is withdrawn");
        }
    }

    /// Whether the backend says that it has ended.
    async fn is_true(&self, object: &Object) -> bool {
        match object {
            Object::Certificate(n) => matches!(self.state(*n).await, CertificateState::Revoked { .. }),
            Object::Client(name) => {
                let (client, _) = self.inner.client(&client_id(name)).await.unwrap().unwrap();
                client.state == ClientState::Disabled
            }
            Object::Secret(id) => {
                let mut credentials = Vec::new();
                for name in CLIENTS {
                    credentials.extend(self.inner.client(&client_id(name)).await.unwrap().unwrap().1);
                }
                let secret = credentials.iter().find(|credential| credential.id.to_string() == *id);
                secret.unwrap().state == CredentialState::Revoked
            }
            Object::Key(name) => {
                let keys = self.inner.keys(KeyPurpose::Token).await.unwrap();
                !keys.iter().any(|key| key.id.0 == *name)
            }
        }
    }

    async fn state(&self, n: u64) -> CertificateState {
        self.inner.certificate(&issuer_id("clients"), &serial(n)).await.unwrap().unwrap().state
    }

    async fn not_stored(&self) -> Vec<Object> {
        let mut not_stored = Vec::new();
        for object in self.promised.keys() {
            if !self.is_true(object).await {
                not_stored.push(object.clone());
            }
        }
        not_stored
    }
}

/// Whatever order endings, failures and repeats come in: what an operator was told to be in force is stored in the end.
#[tokio::test]
async fn rule_g20_nothing_that_is_enforced_is_dropped_before_it_is_stored() {
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        let mut node = Node::new().await;
        // In every second run a commit may also be stored and reported as failed.
        let unheard = seed % 2 == 1;
        let mut faults = Numbers(seed + 1_000_000);
        *node.inner.fails.lock().unwrap() = Box::new(move || match faults.below(10) {
            0..=3 => Fails::Before(StorageError::Full),
            4 => Fails::Before(StorageError::Unavailable("away".to_owned())),
            5 if unheard => Fails::After(StorageError::Unavailable("cut".to_owned())),
            _ => Fails::No,
        });
        for step in 0..25 {
            node.step(&mut numbers).await;
            let not_stored = node.not_stored().await;
            if !unheard {
                let waiting = node.store.waiting().0;
                assert_eq!(waiting, not_stored.len(), "seed {seed}, step {step}: {not_stored:?}");
            }
        }
        *node.inner.fails.lock().unwrap() = Box::new(|| Fails::No);
        node.store.store_waiting().await;
        assert_eq!(node.not_stored().await, [], "seed {seed}");
        assert_eq!(node.store.waiting(), (0, None), "seed {seed}");

        let outbox = node.inner.outbox(10_000).await.unwrap();
        let (mut references, mut told) = (HashSet::new(), Vec::new());
        // The log takes one event once, by its reference.
        for (_, event) in outbox.iter().filter(|(_, event)| references.insert(event.reference)) {
            if let Some(certificate) = &event.facts.certificate {
                told.push((certificate.serial.unwrap(), event.at));
            }
        }
        told.sort();
        let mut revoked = Vec::new();
        for n in 0..CERTIFICATES_EACH * 2 {
            let CertificateState::Revoked { at, .. } = node.state(n).await else { continue };
            revoked.push((serial(n), at));
            // Rule R5: the first time stays.
            let first = node.promised.get(&Object::Certificate(n));
            assert!(
                first == Some(&at) || unheard && first.is_none_or(|first| at < *first),
                "seed {seed}: {n}"
            );
        }
        revoked.sort();
        assert_eq!(
            told, revoked,
            "seed {seed}: one event for each certificate, of when it was revoked first"
        );
        let told_of = |action| outbox.iter().any(|(_, event)| event.action == action);
        if node.promised.keys().any(|object| matches!(object, Object::Client(_))) {
            assert!(told_of(AuditAction::ClientDisabled), "seed {seed}");
        }
    }
}

/// Counts how often it is asked for.
#[derive(Default)]
struct Asked(AtomicU64);

impl Reserve for Asked {
    fn give_up(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) == 0
    }
}

#[tokio::test]
async fn rule_g20_the_reserve_is_for_everything_that_takes_rights_away_and_nothing_else() {
    let (known, new) = (vec![credential_id(1), credential_id(2)], secret("acme-pay", 9));
    let replace =
        |others_end_at| Write::ReplaceSecrets { new: new.clone(), known: known.clone(), others_end_at };
    let delete = || Write::DeleteKey { key: KeyId("first".to_owned()) };
    let rotated = Some(AuditAction::TokenKeyRotated);
    let set = |state| Write::SetClientState { client: client_id("acme-pay"), state, at: NOW };
    let reason = RevocationReason::Superseded;
    let revoke =
        Write::RevokeCertificate { issuer: issuer_id("clients"), serial: serial(0), at: NOW, reason };
    let token = Write::ReplaceOperatorToken { name: "anna".to_owned(), token_hmac: [1; 32] };
    let retire = Write::RetireKey { key: KeyId("first".to_owned()), at: NOW.plus_s(660) };
    for (write, action, asked) in [
        (revoke, Some(AuditAction::CertificateRevoked), 1),
        (set(ClientState::Disabled), Some(AuditAction::ClientDisabled), 1),
        (replace(None), Some(AuditAction::ClientSecretRotated), 1),
        (replace(Some(NOW.plus_s(60))), Some(AuditAction::ClientSecretRotated), 0),
        (delete(), rotated, 1),
        (token, Some(AuditAction::OperatorTokenReset), 1),
        (delete(), None, 0), // It is over and forgotten.
        (retire, rotated, 0),
        (Write::InsertKey(key("second", KeyPurpose::Token)), rotated, 0),
    ] {
        let node = Node::new().await;
        let operator = Write::InsertOperator(crate::conformance::fixtures::operator("anna"));
        node.inner.commit(Transaction::new().write(operator)).await.unwrap();
        let reserve = Arc::new(Asked::default());
        let store = EssentialStore::new(node.inner.clone(), reserve.clone());
        let mut full = true;
        *node.inner.fails.lock().unwrap() = Box::new(move || match std::mem::take(&mut full) {
            true => Fails::Before(StorageError::Full),
            false => Fails::No,
        });
        let told = format!("{write:?}");
        let mut transaction = Transaction::new().write(write);
        transaction.events = action.map(|action| AuditEvent { action, ..event(1) }).into_iter().collect();
        let outcome = store.commit(transaction).await;
        assert_eq!(reserve.0.load(Ordering::SeqCst), asked, "{told}");
        assert_eq!(outcome.is_ok(), asked == 1, "{told}: {outcome:?}");
    }
}

/// An operator who enables a client that this node had refused without storage: not while the order to disable it waits, which
/// would undo it, and then at once, not only after a restart.
#[tokio::test]
async fn a_client_is_enabled_when_its_disabling_is_stored_and_not_before() {
    let node = Node::new().await;
    let set = |state| {
        let write = Write::SetClientState { client: client_id("acme-pay"), state, at: NOW };
        Transaction::new().write(write).record(event(1))
    };
    let views = node.store.enforced_by.get().unwrap().views.clone();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clock = Arc::new(FixedClock);
    tokio::spawn(crate::views::follow(views.clone(), node.inner.clone(), clock, |_| {}, stopped));
    let state = || views.client(&client_id("acme-pay")).unwrap().client.state;
    *node.inner.fails.lock().unwrap() = Box::new(|| Fails::Before(StorageError::Full));
    let disabled = node.store.commit(set(ClientState::Disabled)).await;
    assert!(matches!(disabled, Err(StorageError::NotStored(_))), "{disabled:?}");
    assert_eq!(state(), ClientState::Disabled);

    *node.inner.fails.lock().unwrap() = Box::new(|| Fails::No);
    let enabled = node.store.commit(set(ClientState::Active)).await;
    assert_eq!(enabled, Err(StorageError::Conflict("client")));
    node.store.store_waiting().await;
    assert_eq!(state(), ClientState::Disabled);
    let enabled = node.store.commit(set(ClientState::Active)).await.unwrap();
    assert!(views.applied(enabled.sequence, Duration::from_secs(5)).await);
    assert_eq!(state(), ClientState::Active);
    drop(stop);
}
