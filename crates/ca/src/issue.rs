//! Issues a client certificate: parse, authorize, prepare, check, commit, sign, commit, return.
//!
//! The caller has authenticated the operator. Nothing of the CSR but its public key enters the certificate (rule P5);
//! names come from the registered client, dates and extensions from the profile.

use crate::signing_issuer::SigningIssuer;
use crate::{CertificateAuthority, Refusal};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::certificate::{CertificateRecord, CertificateState, IssuerRole, Profile};
use countersign_model::client::{CertificateMatcher, Client, ClientState, Credential, CredentialKind};
use countersign_model::key::KeyRecord;
use countersign_model::{ClientId, CredentialId, IssuerId, Reference, Serial, Thumbprint, Timestamp};
use countersign_pki::{
    CertificatePolicy, CertificateTemplate, Csr, Linted, PublicKey, Subject, SubjectAltName, Validity,
};
use countersign_pki::{client_uri, pem, profile, serial, thumbprint};
use countersign_storage::views::CRL_SHARDS;
use countersign_storage::{Transaction, Write};

/// A wish for a client certificate, as an operator hands it in.
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    /// For whom.
    pub client: &'a ClientId,
    /// The CSR, PEM or DER.
    pub csr: &'a [u8],
    /// Signs also when another client has a certificate for this key (rule P10).
    pub allow_shared_key: bool,
}

/// A certificate that was signed and is on disk.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// Who signed it.
    pub issuer: IssuerId,
    /// Its serial number.
    pub serial: Serial,
    /// SHA-256 of it.
    pub thumbprint: Thumbprint,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The certificate and its issuing CA, PEM, in the order in which TLS sends them.
    pub chain_pem: String,
    /// What the CSR asked for and the certificate does not have ([`Csr::not_granted`]).
    pub left_out: Vec<String>,
    /// The position in the change feed after which the client's new certificate is known to the views.
    pub sequence: u64,
}

/// What is issued, before it has a serial and a row.
pub(crate) struct Wanted {
    pub profile: Profile,
    pub role: IssuerRole,
    pub subject: Subject,
    pub names: Vec<SubjectAltName>,
    pub public_key: PublicKey,
    /// Its private half, sealed, where it is ours: written with the row, so that what fails leaves no key behind.
    pub key: Option<KeyRecord>,
    pub client: Option<Client>,
    pub renews: Option<Serial>,
    /// Whether the key may belong to another client, too.
    pub allow_shared_key: bool,
    /// What was asked for and is not granted.
    pub left_out: Vec<String>,
}

impl CertificateAuthority {
    /// Issues a certificate for a registered client from its CSR.
    ///
    /// # Errors
    /// [`Refusal::Csr`] when the request is at fault, `OtherClient` when it bears the name of another one, `NotFound` without
    /// such a client, `Conflict` when it is disabled, [`StorageError::KeyTaken`](countersign_storage::StorageError::KeyTaken)
    /// when the key is another client's.
    pub async fn issue_client(
        &self,
        request: ClientRequest<'_>,
        actor: Actor,
        reference: Reference,
    ) -> Result<IssuedCertificate, Refusal> {
        let issued = self.issue_from_csr(request, actor, reference).await;
        count(IssuerRole::Clients, Profile::Client, issued.is_ok());
        issued
    }

    async fn issue_from_csr(
        &self,
        request: ClientRequest<'_>,
        actor: Actor,
        reference: Reference,
    ) -> Result<IssuedCertificate, Refusal> {
        let csr = Csr::parse(request.csr)?;
        let (client, _) = self.store.client(request.client).await?.ok_or(Refusal::NotFound("client"))?;
        if client.state != ClientState::Active {
            return Err(Refusal::Conflict("the client is disabled"));
        }
        self.refuse_names_of_others(&csr, &client.id).await?;
        self.refuse_own_keys(csr.public_key())?;
        let uri = client_uri(&self.settings.issuer, &client.id);
        let names = vec![SubjectAltName::Uri(uri.clone())];
        let subject = Subject::client(&client.name, &client.id);
        let matcher = self.matcher(&client, uri);
        let wanted = Wanted {
            profile: Profile::Client,
            role: IssuerRole::Clients,
            left_out: csr.not_granted(&subject, &names),
            subject,
            names,
            public_key: csr.public_key().clone(),
            key: None,
            client: Some(client),
            renews: None,
            allow_shared_key: request.allow_shared_key,
        };
        self.issue(wanted, Some(matcher), actor, reference).await
    }

    /// Prepare, check, commit, sign, commit: the one way in which a leaf comes into the world.
    pub(crate) async fn issue(
        &self,
        wanted: Wanted,
        matcher: Option<Credential>,
        actor: Actor,
        reference: Reference,
    ) -> Result<IssuedCertificate, Refusal> {
        let issuer = self.issuer_for(wanted.role)?;
        let now = self.clock.now();
        let serial = serial::generate(self.rng.as_ref());
        let shard = serial::shard_of(&serial, CRL_SHARDS);
        let Validity { not_before, not_after } =
            profile::validity(wanted.profile, now, Some(issuer.identity.not_after()))
                .ok_or(Refusal::Conflict("the issuer has expired"))?;
        let (crl_url, issuer_url) =
            (self.settings.crl_url(&issuer.id, shard), self.settings.issuer_url(&issuer.id));
        let template = CertificateTemplate {
            profile: wanted.profile,
            issuer: issuer.identity.clone(),
            serial,
            subject: wanted.subject.clone(),
            names: wanted.names.clone(),
            public_key: wanted.public_key.clone(),
            not_before,
            not_after,
            crl_url: Some(crl_url.clone()),
            issuer_url: Some(issuer_url.clone()),
        };
        // Checked on the final bytes (design, decision 11): what fails here leaves no row and no signature.
        let linted = template.to_be_signed()?.lint(&CertificatePolicy {
            profile: wanted.profile,
            issuer: &issuer.identity,
            subject: &wanted.subject,
            names: &wanted.names,
            public_key: &wanted.public_key,
            crl_url: Some(&crl_url),
            issuer_url: Some(&issuer_url),
            now,
        })?;

        let record = CertificateRecord {
            issuer: issuer.id.clone(),
            serial,
            state: CertificateState::Pending,
            profile: wanted.profile,
            environment: wanted.client.as_ref().map(|client| client.environment),
            client: wanted.client.as_ref().map(|client| client.id.clone()),
            subject: wanted.subject.to_string(),
            names: wanted.names.iter().map(ToString::to_string).collect(),
            key_hash: wanted.public_key.key_hash(),
            not_before,
            not_after,
            crl_shard: shard,
            renews: wanted.renews,
            thumbprint: None,
            der: None,
            created_at: now,
            last_seen_at: None,
            calls: 0,
        };
        // Rule P7: the row is on disk before the issuer's key is touched.
        let mut pending = Transaction::new();
        if let Some(client) = record.client.clone().filter(|_| !wanted.allow_shared_key) {
            pending.writes.push(Write::KeyIsFree { key_hash: record.key_hash, client });
        }
        pending.writes.push(Write::InsertPendingCertificate(record.clone()));
        pending.writes.extend(wanted.key.map(Write::InsertKey));
        self.store.commit(pending).await?;
        let signed = self.sign(issuer, &record, linted, matcher, actor, reference).await;
        if signed.is_err() {
            // Else the row would be pending, and perhaps signed, until the next start.
            self.unfinished.lock().await.push(record);
        }
        signed.map(|issued| IssuedCertificate { left_out: wanted.left_out, ..issued })
    }

    /// Sign and commit: from the row that is on disk to the certificate that is handed out.
    async fn sign(
        &self,
        issuer: &SigningIssuer,
        record: &CertificateRecord,
        linted: Linted,
        matcher: Option<Credential>,
        actor: Actor,
        reference: Reference,
    ) -> Result<IssuedCertificate, Refusal> {
        let serial = record.serial;
        let signature = issuer.signer.sign(linted.message()).await?;
        let der = linted.assemble(&signature)?;
        let thumbprint = thumbprint(&der);
        let facts = Facts {
            client: record.client.clone(),
            environment: record.environment,
            certificate: Some(CertificateRef {
                issuer: Some(issuer.id.clone()),
                serial: Some(serial),
                thumbprint: Some(thumbprint),
            }),
            object: Some(record.profile.to_string()),
            ..Facts::default()
        };
        let event =
            AuditEvent::done(reference, record.created_at, AuditAction::CertificateIssued, actor, facts);
        let mut transaction = Transaction::new()
            .write(Write::MarkIssued { issuer: issuer.id.clone(), serial, der: der.clone(), thumbprint })
            .record(event);
        transaction.writes.extend(matcher.map(Write::InsertMatcherIfAbsent));
        let receipt = self.store.commit(transaction).await?;

        let chain_pem = [der.as_slice(), &issuer.certificate]
            .map(|der| pem::encode(pem::Label::Certificate, der))
            .concat();
        Ok(IssuedCertificate {
            issuer: issuer.id.clone(),
            serial,
            thumbprint,
            not_before: record.not_before,
            not_after: record.not_after,
            der,
            chain_pem,
            left_out: Vec::new(),
            sequence: receipt.sequence,
        })
    }

    /// The credential by which the certificate will stand for its client (design, decision 22).
    fn matcher(&self, client: &Client, uri: String) -> Credential {
        let now = self.clock.now();
        let id = CredentialId::generate(now, self.rng.as_ref());
        let kind = CredentialKind::Certificate(CertificateMatcher::SanUri(uri));
        Credential::new(id, client.id.clone(), "certificate".to_owned(), kind, now)
    }

    /// Nothing of these names enters the certificate, but who sends the request of one client for another has mixed up two
    /// files, and would hand a partner a certificate for a key that he does not have.
    async fn refuse_names_of_others(&self, csr: &Csr, client: &ClientId) -> Result<(), Refusal> {
        for named in csr.clients_named().into_iter().filter(|named| named != client) {
            if self.store.client(&named).await?.is_some() {
                return Err(Refusal::OtherClient(named));
            }
        }
        Ok(())
    }

    /// Rule P4: a leaf with a CA's key would be a CA.
    fn refuse_own_keys(&self, key: &PublicKey) -> Result<(), Refusal> {
        let own = self.issuers.iter().any(|issuer| issuer.identity.public_key() == key);
        if own { Err(Refusal::OwnKey) } else { Ok(()) }
    }
}

/// Counts what became of a wish for a leaf. The issuer of a role is named after it, so that what was refused before an
/// issuer was chosen is counted in the same place.
pub(crate) fn count(role: IssuerRole, profile: Profile, issued: bool) {
    let result = if issued { "issued" } else { "refused" };
    metrics::counter!(
        "countersign_certificates_issued_total",
        "issuer" => role.as_str(), "profile" => profile.as_str(), "result" => result
    )
    .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use async_trait::async_trait;
    use countersign_keys::{Custody, MasterKey, SignError, Signer, SystemRng};
    use countersign_model::key::KeyAlgorithm;
    use countersign_model::{Clock, KeyId, Rng};
    use countersign_storage::memory::MemoryStore;
    use countersign_storage::{StorageError, Store};
    use std::sync::{Arc, Mutex};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_s(1_795_000_000)
        }
    }

    /// Gives every certificate the same serial number.
    struct Constant;

    impl Rng for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0x42);
        }
    }

    /// Notes each time it signs whether the row of what it signs is there.
    struct Watching {
        inner: Arc<dyn Signer>,
        store: Arc<dyn Store>,
        row_was_there: Mutex<Vec<bool>>,
    }

    #[async_trait]
    impl Signer for Watching {
        fn key_id(&self) -> &KeyId {
            self.inner.key_id()
        }

        fn algorithm(&self) -> KeyAlgorithm {
            self.inner.algorithm()
        }

        fn public_key(&self) -> &[u8] {
            self.inner.public_key()
        }

        async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            let pending = self.store.pending_certificates().await.unwrap();
            let is_signed = |row: &CertificateRecord| {
                message.windows(16).any(|octets| octets == row.serial.octets()) && row.der.is_none()
            };
            self.row_was_there.lock().unwrap().push(pending.iter().any(is_signed));
            self.inner.sign(message).await
        }
    }

    async fn watched() -> (CertificateAuthority, Arc<Watching>) {
        let (clock, rng): (Arc<dyn Clock>, Arc<dyn Rng>) = (Arc::new(Still), Arc::new(SystemRng));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let custody = Arc::new(Custody::new(MasterKey::generate(&SystemRng), rng.clone()));
        let settings = Settings {
            issuer: "https://localhost:8443".to_owned(),
            documents: "http://127.0.0.1:8445".to_owned(),
            organization: "Countersign".to_owned(),
        };
        CertificateAuthority::initialize(&settings, &store, &custody, &clock, &rng).await.unwrap();
        let mut ca = CertificateAuthority::open(settings, store.clone(), custody, clock, rng).await.unwrap();
        let servers = ca.issuers.iter_mut().find(|issuer| issuer.role == IssuerRole::Servers).unwrap();
        let inner = servers.signer.clone();
        let watching = Arc::new(Watching { inner, store, row_was_there: Mutex::default() });
        servers.signer = watching.clone();
        (ca, watching)
    }

    #[tokio::test]
    async fn rule_p7_the_row_is_there_when_the_issuer_signs() {
        let (ca, watching) = watched().await;
        ca.server_certificate(&["localhost".to_owned()]).await.unwrap();
        assert_eq!(*watching.row_was_there.lock().unwrap(), [true]);
    }

    #[tokio::test]
    async fn rule_p7_without_a_row_the_issuer_does_not_sign() {
        let (mut ca, watching) = watched().await;
        ca.rng = Arc::new(Constant);
        ca.server_certificate(&["localhost".to_owned()]).await.unwrap();
        // Rule P1: the serial number is taken, so there is no second row.
        let refused = ca.server_certificate(&["example.com".to_owned()]).await.unwrap_err();
        assert!(matches!(refused, Refusal::Storage(StorageError::Conflict(_))), "{refused:?}");
        assert_eq!(*watching.row_was_there.lock().unwrap(), [true], "signed once");
    }
}
