//! What was pending when the program stopped, or failed between the two commits, is given up (design, decision 23).
//!
//! Such a certificate may have been signed, but was never handed out: the answer comes after the second commit. Its
//! serial goes onto the CRL all the same, and every view refuses it.

use crate::{CertificateAuthority, Refusal};
use countersign_model::Reference;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::certificate::CertificateRecord;
use countersign_storage::{StorageError, Transaction, Write};
use tokio::sync::Mutex;

impl CertificateAuthority {
    /// Gives up every row that was pending when the authority was opened, and every one whose certificate failed since;
    /// returns how many there were. What fails, as on a full disk, is tried again by the next call; rows of certificates
    /// that are being signed are never touched.
    ///
    /// # Errors
    /// Any storage error.
    pub async fn recover(&self) -> Result<usize, Refusal> {
        Ok(self.give_up_all(&self.orphans).await? + self.give_up_all(&self.unfinished).await?)
    }

    /// Whether everything that was pending when the authority was opened is given up.
    pub async fn is_recovered(&self) -> bool {
        self.orphans.lock().await.is_empty()
    }

    async fn give_up_all(&self, rows: &Mutex<Vec<CertificateRecord>>) -> Result<usize, Refusal> {
        let mut rows = rows.lock().await;
        let mut given_up = 0;
        while let Some(row) = rows.last() {
            match self.give_up(row).await {
                Ok(()) => given_up += 1,
                // Somebody revoked it meanwhile: it is refused already.
                Err(StorageError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            rows.pop();
        }
        Ok(given_up)
    }

    async fn give_up(&self, certificate: &CertificateRecord) -> Result<(), StorageError> {
        let now = self.clock.now();
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
        self.store.commit(Transaction::new().write(abandon).record(event)).await.map(drop)
    }
}
