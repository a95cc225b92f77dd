//! The views as the decision asks them.

use super::{IssuerKeyHash, Views};
use countersign_model::certificate::RevocationReason;
use countersign_model::{ClientId, Serial, Timestamp};
use countersign_pki::peer::PeerCertificate;
use countersign_policy::{ClientEntry, Registry};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Registry for Views {
    fn client(&self, id: &ClientId) -> Option<Arc<ClientEntry>> {
        self.clients.get(id).map(|entry| entry.value().clone())
    }

    fn client_of_certificate(&self, certificate: &PeerCertificate) -> Option<ClientId> {
        // RFC 8705 section 2.1.2: the registered URI, octet by octet (rule C4). A certificate with names of two
        // clients stands for neither: it is not one of ours.
        let mut owner = None;
        for uri in certificate.san_uris() {
            let found = self.by_san_uri.get(uri).map(|entry| entry.value().clone());
            match (&owner, found) {
                (None, found) => owner = found,
                (Some(first), Some(second)) if *first != second => return None,
                (Some(_), _) => {}
            }
        }
        owner
    }

    fn revocation(&self, issuer_key_hash: &IssuerKeyHash, serial: &Serial) -> Option<RevocationReason> {
        self.revoked.get(&(*issuer_key_hash, *serial)).map(|revoked| revoked.reason)
    }

    fn age(&self, now: Timestamp, instant: Instant) -> Duration {
        self.freshness.age(now, instant)
    }
}
