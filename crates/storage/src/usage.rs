//! Last-used times and counts, gathered in memory and written in batches (design, decision 19): the data path never
//! waits for the disk to say that somebody called.

use crate::{Transaction, Write};
use countersign_model::{CredentialId, IssuerId, Serial, Timestamp};
use dashmap::DashMap;
use foldhash::fast::RandomState;

/// What was used since the last batch. Shared by all workers.
#[derive(Debug, Default)]
pub struct Usage {
    credentials: DashMap<CredentialId, Uses, RandomState>,
    certificates: DashMap<(IssuerId, Serial), Uses, RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct Uses {
    last: Timestamp,
    count: u64,
}

impl Uses {
    fn add(&mut self, at: Timestamp) {
        self.last = self.last.max(at);
        self.count += 1;
    }
}

impl Usage {
    /// A credential proved its client at `at`.
    pub fn credential_used(&self, credential: CredentialId, at: Timestamp) {
        self.credentials.entry(credential).or_insert(Uses { last: at, count: 0 }).add(at);
    }

    /// A certificate of ours made a call at `at`.
    pub fn certificate_used(&self, issuer: &IssuerId, serial: &Serial, at: Timestamp) {
        self.certificates.entry((issuer.clone(), *serial)).or_insert(Uses { last: at, count: 0 }).add(at);
    }

    /// Takes up to `limit` entries out, as one transaction; `None` when nothing was used.
    ///
    /// What the transaction fails to write is lost from the counts: they are for people, not for decisions.
    pub fn drain(&self, limit: usize) -> Option<Transaction> {
        let mut transaction = Transaction::new();
        let credentials: Vec<_> = self.credentials.iter().take(limit).map(|entry| *entry.key()).collect();
        for id in credentials {
            if let Some((credential, uses)) = self.credentials.remove(&id) {
                transaction.writes.push(Write::CredentialUsed {
                    credential,
                    at: uses.last,
                    uses: uses.count,
                });
            }
        }
        let room = limit.saturating_sub(transaction.writes.len());
        let certificates: Vec<_> =
            self.certificates.iter().take(room).map(|entry| entry.key().clone()).collect();
        for key in certificates {
            if let Some(((issuer, serial), uses)) = self.certificates.remove(&key) {
                let write = Write::CertificateUsed { issuer, serial, at: uses.last, calls: uses.count };
                transaction.writes.push(write);
            }
        }
        (!transaction.writes.is_empty()).then_some(transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_and_drained_in_bounded_batches() {
        let usage = Usage::default();
        let issuer: IssuerId = "clients".parse().unwrap();
        for n in 1..=5u8 {
            let serial = Serial::from_octets(&[n]).unwrap();
            usage.certificate_used(&issuer, &serial, Timestamp::from_unix_s(10));
            usage.certificate_used(&issuer, &serial, Timestamp::from_unix_s(9));
        }
        let first = usage.drain(3).unwrap();
        assert_eq!(first.writes.len(), 3);
        for write in &first.writes {
            assert!(
                matches!(write, Write::CertificateUsed { at, calls: 2, .. } if at.unix_s() == 10),
                "{write:?}"
            );
        }
        assert_eq!(usage.drain(100).unwrap().writes.len(), 2);
        assert!(usage.drain(100).is_none());
    }
}
