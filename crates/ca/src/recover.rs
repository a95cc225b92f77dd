//! What was pending when the program stopped is given up (design, decision 23).
//!
//! Such a certificate may have been signed, but was never handed out: the answer comes after the second commit. Its
//! serial goes onto the CRL all the same, and every view refuses it.

use crate::{CertificateAuthority, Refusal};
use countersign_model::Reference;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_storage::{Transaction, Write};

impl CertificateAuthority {
    /// Gives up every pending row, and returns how many there were. Must run before the first issuance.
    ///
    /// # Errors
    /// What storage suffers from.
    pub async fn recover(&self) -> Result<usize, Refusal> {
        let pending = self.store.pending_certificates().await?;
        let now = self.clock.now();
        for certificate in &pending {
            let facts = Facts {
                client: certificate.client.clone(),
                certificate: Some(CertificateRef {
                    issuer: Some(certificate.issuer.clone()),
                    serial: Some(certificate.serial),
                    thumbprint: None,
                }),
                object: Some(certificate.profile.to_string()),
                ..Facts::default()
            };
            let reference = Reference::generate(now, self.rng.as_ref());
            let action = AuditAction::CertificateAbandoned;
            let event = AuditEvent::done(reference, now, action, Actor::System, facts);
            let issuer = certificate.issuer.clone();
            let abandon = Write::MarkAbandoned { issuer, serial: certificate.serial, at: now };
            self.store.commit(Transaction::new().write(abandon).record(event)).await?;
        }
        Ok(pending.len())
    }
}
