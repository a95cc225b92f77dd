//! Revokes: commits, waits for nobody, then publishes the CRL (rules R2, R5).

use crate::{CertificateAuthority, Refusal};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::certificate::{CertificateRecord, CertificateState, Profile, RevocationReason};
use countersign_model::{ClientId, IssuerId, Reference, Serial, Timestamp};
use countersign_storage::stores::CertificateFilter;
use countersign_storage::{StorageError, Transaction, Write};

/// How often the certificates of a client are listed again, because some came or ended meanwhile.
const MOST_LISTINGS: usize = 20;

/// What a revocation did.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The certificates that this call revoked.
    pub revoked: Vec<(IssuerId, Serial)>,
    /// Those that were revoked before: revoking twice changes nothing (rule R5).
    pub already_revoked: Vec<(IssuerId, Serial)>,
    /// The position in the change feed from which on every view refuses them.
    pub sequence: u64,
}

impl CertificateAuthority {
    /// Revokes one certificate, also one that is being signed, which is then not handed out. Idempotent: the first time
    /// and reason stay.
    ///
    /// # Errors
    /// `Conflict` for a row that was given up, and for the certificates of our own authorities. Any storage error.
    pub async fn revoke(
        &self,
        certificate: &CertificateRecord,
        reason: RevocationReason,
        actor: Actor,
        reference: Reference,
    ) -> Result<Revocation, Refusal> {
        let one = std::slice::from_ref;
        let revoked = self.revoke_all(one(certificate), None, reason, actor.clone(), reference).await;
        let Err(Refusal::Storage(StorageError::Conflict(_))) = revoked else { return revoked };
        // It has ended since it was read, and does not end twice.
        let row = self.store.certificate(&certificate.issuer, &certificate.serial).await?;
        let row = row.ok_or(Refusal::NotFound("certificate"))?;
        self.revoke_all(one(&row), None, reason, actor, reference).await
    }

    /// Revokes every certificate of a client that has not expired in one transaction, also what is being signed for it
    /// just now: when it is committed, the client has none.
    ///
    /// # Errors
    /// `NotFound` without such a client; `Conflict` if certificates are issued to it faster than they are revoked. Any
    /// storage error.
    pub async fn revoke_client(
        &self,
        client: &ClientId,
        reason: RevocationReason,
        actor: Actor,
        reference: Reference,
    ) -> Result<Revocation, Refusal> {
        if self.store.client(client).await?.is_none() {
            return Err(Refusal::NotFound("client"));
        }
        for _ in 0..MOST_LISTINGS {
            // `notAfter` belongs to the validity as a whole second (RFC 5280 section 4.1.2.5).
            let valid_at = self.clock.now().whole_second();
            let certificates = self.not_ended(client, valid_at).await?;
            let none_left = Write::NoCertificateLeft { client: client.clone(), valid_at };
            match self.revoke_all(&certificates, Some(none_left), reason, actor.clone(), reference).await {
                // One has come or ended since they were listed.
                Err(Refusal::Storage(StorageError::Conflict(_))) => {}
                revoked => return revoked,
            }
        }
        Err(Refusal::Conflict(
            "certificates are issued to the client faster than they are revoked: disable it first",
        ))
    }

    /// The certificates of a client that are issued, or will be, and have not expired.
    async fn not_ended(
        &self,
        client: &ClientId,
        valid_at: Timestamp,
    ) -> Result<Vec<CertificateRecord>, Refusal> {
        let mut certificates = Vec::new();
        // What is pending first: what is issued in between is found by the second listing.
        for state in [CertificateState::Pending, CertificateState::Issued] {
            let filter = CertificateFilter {
                client: Some(client.clone()),
                state: Some(state.as_str().to_owned()),
                valid_until: Some(valid_at),
                ..CertificateFilter::default()
            };
            let found = self.store.certificates(&filter, u32::MAX).await?;
            certificates.retain(|seen: &CertificateRecord| {
                !found.iter().any(|found| (&found.issuer, found.serial) == (&seen.issuer, seen.serial))
            });
            certificates.extend(found);
        }
        Ok(certificates)
    }

    async fn revoke_all(
        &self,
        certificates: &[CertificateRecord],
        condition: Option<Write>,
        reason: RevocationReason,
        actor: Actor,
        reference: Reference,
    ) -> Result<Revocation, Refusal> {
        let now = self.clock.now();
        let mut transaction = Transaction::new();
        let (mut revoked, mut already_revoked) = (Vec::new(), Vec::new());
        for certificate in certificates {
            // Its row would say so, and nothing would follow: whoever trusts the root goes on trusting it, and it goes
            // on signing.
            if matches!(certificate.profile, Profile::RootCa | Profile::IssuingCa) {
                return Err(Refusal::Conflict(
                    "an authority of our own is not revoked here: it is replaced by a new one",
                ));
            }
            match certificate.state {
                CertificateState::Issued | CertificateState::Pending => {
                    revoked.push((certificate.issuer.clone(), certificate.serial))
                }
                CertificateState::Revoked { .. } => {
                    already_revoked.push((certificate.issuer.clone(), certificate.serial));
                    continue;
                }
                CertificateState::Abandoned { .. } => {
                    return Err(Refusal::Conflict("the certificate was never handed out"));
                }
            }
            transaction.writes.push(Write::RevokeCertificate {
                issuer: certificate.issuer.clone(),
                serial: certificate.serial,
                at: now,
                reason,
            });
            let facts = Facts {
                client: certificate.client.clone(),
                environment: certificate.environment,
                certificate: Some(CertificateRef {
                    issuer: Some(certificate.issuer.clone()),
                    serial: Some(certificate.serial),
                    thumbprint: certificate.thumbprint,
                }),
                detail: Some(reason.to_string()),
                ..Facts::default()
            };
            // The log tells repeated deliveries of one event by its reference: each event has one of its own, and the
            // first one that of the call.
            let reference = match transaction.events.len() {
                0 => reference,
                _ => Reference::generate(now, self.rng.as_ref()),
            };
            let action = AuditAction::CertificateRevoked;
            transaction.events.push(AuditEvent::done(reference, now, action, actor.clone(), facts));
        }
        if revoked.is_empty() {
            return Ok(Revocation { revoked, already_revoked, sequence: self.store.last_change().await? });
        }
        transaction.writes.extend(condition);
        let receipt = self.store.commit(transaction).await?;
        metrics::counter!("countersign_certificates_revoked_total", "reason" => reason.as_str())
            .increment(u64::try_from(revoked.len()).unwrap_or(u64::MAX));
        Ok(Revocation { revoked, already_revoked, sequence: receipt.sequence })
    }
}
