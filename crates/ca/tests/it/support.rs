//! What the tests share: an installation with a clock that stands still, and a partner who makes keys and requests.

use crate::store::FaultyStore;
use countersign_ca::issue::{ClientRequest, IssuedCertificate};
use countersign_ca::{CertificateAuthority, Refusal, Settings};
use countersign_keys::{Custody, MasterKey, PortableKey, SystemRng};
use countersign_model::audit::Actor;
use countersign_model::certificate::{CertificateRecord, IssuerRole};
use countersign_model::client::{AuthMethod, Client, ClientState};
use countersign_model::{ClientId, Clock, Environment, IssuerId, Reference, Rng, Serial, Timestamp};
use countersign_pki::{RevocationList, assemble_csr, csr_info_to_sign};
use countersign_storage::{Store, Transaction, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// 2026-11-18T10:26:40Z
pub(crate) const BEGIN: Timestamp = Timestamp::from_unix_s(1_795_000_000);

pub(crate) const DAY_S: i64 = 86_400;

pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

/// Everything that a process holds, and what survives it.
pub(crate) struct Installation {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) clock: Arc<TestClock>,
}

impl Installation {
    /// An empty one.
    pub(crate) fn empty() -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(BEGIN.unix_ms())));
        let custody = Arc::new(Custody::new(MasterKey::generate(&SystemRng), Arc::new(SystemRng)));
        Self { store: Arc::new(FaultyStore::new(clock.clone())), custody, clock }
    }

    /// One with its authorities, and the client `acme-pay`.
    pub(crate) async fn with_client() -> (Self, Arc<CertificateAuthority>) {
        let installation = Self::empty();
        installation.initialize().await.unwrap();
        installation.add_client("acme-pay").await;
        let ca = installation.open().await;
        (installation, ca)
    }

    pub(crate) async fn initialize(&self) -> Result<(), Refusal> {
        self.initialize_with(&settings()).await
    }

    pub(crate) async fn initialize_with(&self, settings: &Settings) -> Result<(), Refusal> {
        let store: Arc<dyn Store> = self.store.clone();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        CertificateAuthority::initialize(settings, &store, &self.custody, &clock, &rng).await
    }

    /// A process that starts on it.
    pub(crate) async fn open(&self) -> Arc<CertificateAuthority> {
        self.open_with(settings()).await.unwrap()
    }

    /// A process that starts on it, and reaches it through another store.
    pub(crate) async fn open_on(&self, store: Arc<dyn Store>) -> Arc<CertificateAuthority> {
        let (clock, rng) = (self.clock.clone(), Arc::new(SystemRng));
        let ca = CertificateAuthority::open(settings(), store, self.custody.clone(), clock, rng).await;
        Arc::new(ca.unwrap())
    }

    pub(crate) async fn open_with(&self, settings: Settings) -> Result<Arc<CertificateAuthority>, Refusal> {
        let (store, clock, rng) = (self.store.clone(), self.clock.clone(), Arc::new(SystemRng));
        let ca = CertificateAuthority::open(settings, store, self.custody.clone(), clock, rng).await;
        ca.map(Arc::new)
    }

    pub(crate) async fn add_client(&self, id: &str) {
        let client = Client {
            id: id.parse().unwrap(),
            environment: Environment::Production,
            name: format!("{id} Ltd"),
            contacts: Vec::new(),
            auth_method: AuthMethod::TlsClientAuth,
            scopes: "data:read".parse().unwrap(),
            audiences: Vec::new(),
            state: ClientState::Active,
            epoch: 0,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
        };
        self.commit(Write::InsertClient(client)).await;
    }

    pub(crate) async fn commit(&self, write: Write) {
        use countersign_storage::stores::Commit;
        self.store.commit(Transaction::new().write(write)).await.unwrap();
    }

    pub(crate) async fn row(&self, issuer: &str, serial: &Serial) -> CertificateRecord {
        use countersign_storage::stores::CertificateStore;
        self.store.certificate(&id(issuer), serial).await.unwrap().unwrap()
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference::generate(self.clock.now(), &SystemRng)
    }

    pub(crate) async fn issue(
        &self,
        ca: &CertificateAuthority,
        csr: &[u8],
    ) -> Result<IssuedCertificate, Refusal> {
        self.issue_for(ca, "acme-pay", csr).await
    }

    pub(crate) async fn issue_for(
        &self,
        ca: &CertificateAuthority,
        id: &str,
        csr: &[u8],
    ) -> Result<IssuedCertificate, Refusal> {
        let request = ClientRequest { client: &client(id), csr, allow_shared_key: false };
        ca.issue_client(request, Actor::Operator("tester".to_owned()), self.reference()).await
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        issuer: "https://localhost:8443".to_owned(),
        documents: "http://127.0.0.1:8445".to_owned(),
        organization: "Countersign".to_owned(),
    }
}

pub(crate) fn client(id: &str) -> ClientId {
    id.parse().unwrap()
}

pub(crate) fn id(issuer: &str) -> IssuerId {
    issuer.parse().unwrap()
}

/// A partner's request on a key of its own.
pub(crate) fn request(common_name: &str) -> String {
    request_for(&PortableKey::generate().unwrap(), common_name)
}

pub(crate) fn request_for(key: &PortableKey, common_name: &str) -> String {
    let info = csr_info_to_sign(common_name, key.public_key()).unwrap();
    assemble_csr(&info, &key.sign(&info).unwrap()).unwrap()
}

/// The list as it is served, with its signature verified.
pub(crate) fn served(ca: &CertificateAuthority, issuer: &str) -> RevocationList {
    let crl = ca.crl(&id(issuer), 0).expect("a list is served");
    let list = RevocationList::parse(&crl.der).unwrap();
    let signer =
        countersign_pki::IssuerIdentity::from_certificate(ca.issuer_certificate(&id(issuer)).unwrap());
    list.verify(signer.unwrap().public_key()).unwrap();
    assert_eq!((list.number, list.next_update), (crl.number, crl.next_update));
    list
}

/// Our CA's certificate for a role.
pub(crate) fn authority(ca: &CertificateAuthority, role: IssuerRole) -> Vec<u8> {
    ca.trusted(role).unwrap().remove(0).certificate
}
