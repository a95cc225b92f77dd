//! Certificates of our own listeners: issued, found again at the next start, and renewed in time.

use crate::issue::{Wanted, count};
use crate::{CertificateAuthority, Refusal};
use countersign_model::audit::Actor;
use countersign_model::certificate::{CertificateRecord, CertificateState, IssuerRole, Profile};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::{Reference, Timestamp};
use countersign_pki::{PublicKey, Subject, SubjectAltName};
use countersign_storage::stores::CertificateFilter;
use countersign_storage::{Transaction, Write};
use std::collections::HashSet;

/// How long a key may be without a certificate: far longer than an issuance takes.
const KEY_WITHOUT_CERTIFICATE_S: i64 = 3600;

/// A certificate of ours with its chain and its key in custody.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// End entity and issuing CA, DER, in the order in which TLS sends them.
    pub chain: Vec<Vec<u8>>,
    /// Its key, sealed.
    pub key: KeyRecord,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

impl CertificateAuthority {
    /// The certificate for a listener with these names (host names and addresses): the one that is there while two
    /// thirds of its life have not passed, else a new one with a new key. While no new one can be made, as on a full
    /// disk, one that is valid still serves.
    ///
    /// # Errors
    /// What storage, custody or the builder suffer from: a name that is none is a fault of the configuration.
    pub async fn server_certificate(&self, names: &[String]) -> Result<ServerCertificate, Refusal> {
        let wanted = names.iter().map(|name| alternative_name(name)).collect::<Vec<_>>();
        let now = self.clock.now();
        let present = match self.present(&wanted, now).await? {
            Some((present, renewal_at)) if renewal_at > now => return Ok(present),
            present => present,
        };
        match (self.issue_server(wanted, now).await, present) {
            (Err(error), Some((present, _))) => {
                let (names, not_after) = (names.join(", "), present.not_after);
                tracing::warn!(names, %not_after, %error, "the server certificate is due and not renewed: the old one serves");
                Ok(present)
            }
            (issued, _) => issued,
        }
    }

    async fn issue_server(
        &self,
        names: Vec<SubjectAltName>,
        now: Timestamp,
    ) -> Result<ServerCertificate, Refusal> {
        let key = self.custody.generate(KeyPurpose::TlsServer, now)?;
        let wanted = Wanted {
            profile: Profile::Server,
            role: IssuerRole::Servers,
            // Rule P3: the CN of a server is also in the SAN.
            subject: Subject::server(&names),
            names,
            public_key: PublicKey::from_spki_der(&key.public_key)
                .map_err(|_| Refusal::NotFound("public key"))?,
            key: Some(key.clone()),
            client: None,
            renews: None,
            allow_shared_key: false,
            left_out: Vec::new(),
        };
        let reference = Reference::generate(now, self.rng.as_ref());
        let issued = self.issue(wanted, None, Actor::System, reference).await;
        count(IssuerRole::Servers, Profile::Server, issued.is_ok());
        let issued = issued?;
        if let Err(error) = self.forget_server_keys(now).await {
            tracing::warn!(%error, "keys of listeners that are not used any more are kept until the next renewal");
        }
        Ok(ServerCertificate { chain: self.chain(issued.der)?, key, not_after: issued.not_after })
    }

    /// The newest certificate with exactly these names that is valid and whose key is in custody, and from when on a new
    /// one is made in its place.
    async fn present(
        &self,
        names: &[SubjectAltName],
        now: Timestamp,
    ) -> Result<Option<(ServerCertificate, Timestamp)>, Refusal> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let keys = self.store.keys(KeyPurpose::TlsServer).await?;
        for certificate in self.server_certificates(now).await? {
            // One of a day to come is left by a clock that was set back.
            if certificate.names != names || certificate.not_before > now {
                continue;
            }
            let key = keys.iter().find(|key| hash_of(key) == Some(certificate.key_hash));
            if let (Some(key), Some(der)) = (key, certificate.der) {
                let not_after = certificate.not_after;
                let present = ServerCertificate { chain: self.chain(der)?, key: key.clone(), not_after };
                return Ok(Some((present, renewal_at(certificate.not_before, not_after))));
            }
        }
        Ok(None)
    }

    /// Deletes the keys of listeners that belong to no certificate that may serve still: of those that have expired, and
    /// of attempts that were cut short. A young one may belong to a certificate that is being made at this moment.
    async fn forget_server_keys(&self, now: Timestamp) -> Result<(), Refusal> {
        let certificates = self.server_certificates(now).await?;
        let in_use: HashSet<[u8; 32]> = certificates.iter().map(|row| row.key_hash).collect();
        let mut transaction = Transaction::new();
        for key in self.store.keys(KeyPurpose::TlsServer).await? {
            let old = key.created_at.plus_s(KEY_WITHOUT_CERTIFICATE_S) < now;
            if old && hash_of(&key).is_some_and(|hash| !in_use.contains(&hash)) {
                transaction.writes.push(Write::DeleteKey { key: key.id });
            }
        }
        if !transaction.writes.is_empty() {
            self.store.commit(transaction).await?;
        }
        Ok(())
    }

    /// The certificates of listeners that have not expired, newest first.
    async fn server_certificates(&self, now: Timestamp) -> Result<Vec<CertificateRecord>, Refusal> {
        let filter = CertificateFilter {
            state: Some(CertificateState::Issued.as_str().to_owned()),
            profile: Some(Profile::Server),
            valid_until: Some(now),
            ..CertificateFilter::default()
        };
        Ok(self.store.certificates(&filter, u32::MAX).await?)
    }

    fn chain(&self, end_entity: Vec<u8>) -> Result<Vec<Vec<u8>>, Refusal> {
        Ok(vec![end_entity, self.issuer_for(IssuerRole::Servers)?.certificate.clone()])
    }
}

/// After two thirds of its life: early enough to fail for two weeks before anybody notices.
fn renewal_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    not_before.plus_s((not_after.unix_s() - not_before.unix_s()) / 3 * 2)
}

fn hash_of(key: &KeyRecord) -> Option<[u8; 32]> {
    PublicKey::from_spki_der(&key.public_key).ok().map(|key| key.key_hash())
}

fn alternative_name(name: &str) -> SubjectAltName {
    match name.parse() {
        Ok(address) => SubjectAltName::Ip(address),
        Err(_) => SubjectAltName::Dns(name.to_owned()),
    }
}
