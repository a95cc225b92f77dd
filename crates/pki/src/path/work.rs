//! What one validation costs: counted where the work is done, and bounded there (rule T13).
//!
//! Signatures are the dear part. webpki allows 100 of them, each under whatever RSA key a certificate on the path has; a
//! path of four intermediates needs five, and as many again if there are CRLs.

use crate::signature::ACCEPTED;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most signatures that one validation verifies, beside one for each anchor.
pub(super) const MAX_SIGNATURES: usize = 16;

/// The work of one validation. Atomic because webpki takes only algorithms that threads can share; no two threads ever do.
#[derive(Debug)]
pub(super) struct Work {
    most_signatures: usize,
    signatures: AtomicUsize,
    signed_bytes: AtomicUsize,
    certificates: AtomicUsize,
    certificate_bytes: AtomicUsize,
}

/// How much work there was.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent {
    /// Signatures verified.
    pub(super) signatures: usize,
    /// Bytes that were hashed for them.
    pub(super) signed_bytes: usize,
    /// Certificates that were read in full, or given to the path builder; one that was both counts twice.
    pub(super) certificates: usize,
    /// Their bytes.
    pub(super) certificate_bytes: usize,
}

impl Work {
    /// No work yet, and as much allowed as a set of that many anchors needs.
    pub(super) fn new(anchors: usize) -> Self {
        Self {
            most_signatures: MAX_SIGNATURES.saturating_add(anchors),
            signatures: AtomicUsize::default(),
            signed_bytes: AtomicUsize::default(),
            certificates: AtomicUsize::default(),
            certificate_bytes: AtomicUsize::default(),
        }
    }

    /// Counts a certificate that is read in full.
    pub(super) fn reads(&self, certificate: &[u8]) {
        self.certificates.fetch_add(1, Ordering::Relaxed);
        self.certificate_bytes.fetch_add(certificate.len(), Ordering::Relaxed);
    }

    /// The accepted algorithms, each of which counts.
    pub(super) fn algorithms(&self) -> [Counting<'_>; ACCEPTED.len()] {
        ACCEPTED.map(|algorithm| Counting { algorithm, work: self })
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> Spent {
        Spent {
            signatures: self.signatures.load(Ordering::Relaxed),
            signed_bytes: self.signed_bytes.load(Ordering::Relaxed),
            certificates: self.certificates.load(Ordering::Relaxed),
            certificate_bytes: self.certificate_bytes.load(Ordering::Relaxed),
        }
    }
}

/// An algorithm that verifies as long as there is work left, and nothing afterwards.
#[derive(Clone, Copy)]
pub(super) struct Counting<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    work: &'a Work,
}

impl fmt::Debug for Counting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}

impl SignatureVerificationAlgorithm for Counting<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if self.work.signatures.load(Ordering::Relaxed) >= self.work.most_signatures {
            return Err(InvalidSignature);
        }
        self.work.signatures.fetch_add(1, Ordering::Relaxed);
        self.work.signed_bytes.fetch_add(message.len(), Ordering::Relaxed);
        self.algorithm.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}
