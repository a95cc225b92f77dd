//! The custody of our own private keys: makes them, seals them into a [`KeyRecord`], and opens them for signing.
//!
//! One key has one purpose (rule K9): a TLS key gives no [`Signer`], a signing key gives no TLS key, and sealed bytes
//! that were moved to a row of another purpose do not open.

use crate::ecdsa::{CryptoFailed, P256Key};
use crate::master::MasterKey;
use crate::sealed::{SealError, SealedFor, Sealer};
use crate::signer::Signer;
use crate::tls;
use countersign_model::key::{KeyAlgorithm, KeyPurpose, KeyRecord};
use countersign_model::{KeyId, Rng, Secret, Timestamp};
use rustls::sign::SigningKey;
use std::fmt;
use std::sync::Arc;

/// Keeps keys under one master key.
pub struct Custody {
    sealer: Sealer,
    pepper: Secret<[u8; 32]>,
    rng: Arc<dyn Rng>,
}

/// Why custody gives no key.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The sealed bytes do not open: the wrong master key, or a changed database.
    #[error("key {key} does not open")]
    Sealed {
        /// Which key.
        key: KeyId,
        /// Why.
        source: SealError,
    },
    /// What opened is not the private half of the record's public key: the row was put together from two.
    #[error("key {key} does not belong to its record")]
    OtherKey {
        /// Which key.
        key: KeyId,
    },
    /// A key is asked for something that it is not for.
    #[error("key {key} is for {} and for nothing else", purpose.as_str())]
    WrongPurpose {
        /// Which key.
        key: KeyId,
        /// What it is for.
        purpose: KeyPurpose,
    },
    /// The cryptographic library failed: out of memory, or a broken machine.
    #[error("no key could be made: the cryptographic library failed")]
    Library,
}

impl Custody {
    /// Custody under `master`; `rng` makes data keys and nonces.
    pub fn new(master: MasterKey, rng: Arc<dyn Rng>) -> Self {
        // The master key itself is not kept: what is derived from it is enough.
        Self { sealer: Sealer::new(&master), pepper: master.derive("client secret pepper"), rng }
    }

    /// A new key for `purpose`, sealed. It may sign from `now` on; a token key that is to be published first gets a
    /// later `signs_from` from its key ring.
    ///
    /// # Errors
    /// [`CustodyError::Library`] only.
    pub fn generate(&self, purpose: KeyPurpose, now: Timestamp) -> Result<KeyRecord, CustodyError> {
        let key = P256Key::generate()?;
        let algorithm = KeyAlgorithm::EcdsaP256;
        let sealed = self.sealer.seal(
            key.to_pkcs8()?.expose(),
            SealedFor { id: key.id(), purpose, algorithm },
            self.rng.as_ref(),
        );
        Ok(KeyRecord {
            id: key.id().clone(),
            purpose,
            algorithm,
            public_key: key.spki().to_vec(),
            sealed,
            created_at: now,
            signs_from: now,
            retired_at: None,
        })
    }

    /// The ability to sign with the key of `record`: a certificate authority's or a token key.
    ///
    /// # Errors
    /// A TLS key, sealed bytes that do not open, and a private key that does not belong to the record are refused.
    pub fn signer(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, CustodyError> {
        if record.purpose == KeyPurpose::TlsServer {
            return Err(wrong_purpose(record));
        }
        Ok(Arc::new(P256Key::from_pkcs8(self.open(record)?.expose())?))
    }

    /// The key of `record` as rustls wants it: a listener's.
    ///
    /// # Errors
    /// As [`Custody::signer`], but for a key that is not for TLS.
    pub fn tls_key(&self, record: &KeyRecord) -> Result<Arc<dyn SigningKey>, CustodyError> {
        if record.purpose != KeyPurpose::TlsServer {
            return Err(wrong_purpose(record));
        }
        tls::from_pkcs8(self.open(record)?.expose()).map_err(|_| CustodyError::Library)
    }

    /// The pepper of client secrets and operator tokens (design, decision 5): another derived key than the one that
    /// seals, so that neither tells of the other.
    pub fn pepper(&self) -> Secret<[u8; 32]> {
        self.pepper.clone()
    }

    fn open(&self, record: &KeyRecord) -> Result<Secret<Vec<u8>>, CustodyError> {
        let for_ = SealedFor { id: &record.id, purpose: record.purpose, algorithm: record.algorithm };
        let pkcs8 = self
            .sealer
            .open(&record.sealed, for_)
            .map_err(|source| CustodyError::Sealed { key: record.id.clone(), source })?;
        let key = P256Key::from_pkcs8(pkcs8.expose())?;
        // The public key is not sealed: a row with a foreign one would publish a key that we cannot sign with, or
        // worse, one that somebody else can.
        if *key.id() != record.id || key.spki() != record.public_key {
            return Err(CustodyError::OtherKey { key: record.id.clone() });
        }
        Ok(pkcs8)
    }
}

fn wrong_purpose(record: &KeyRecord) -> CustodyError {
    CustodyError::WrongPurpose { key: record.id.clone(), purpose: record.purpose }
}

impl From<CryptoFailed> for CustodyError {
    fn from(_: CryptoFailed) -> Self {
        Self::Library
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custody(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRng;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);

    fn custody() -> Custody {
        Custody::new(MasterKey::generate(&SystemRng), Arc::new(SystemRng))
    }

    fn record(custody: &Custody, purpose: KeyPurpose) -> KeyRecord {
        custody.generate(purpose, NOW).unwrap()
    }

    #[tokio::test]
    async fn a_key_signs_after_the_process_was_started_again() {
        let text = MasterKey::generate(&SystemRng).to_text();
        let start = || Custody::new(MasterKey::from_text(text.expose()).unwrap(), Arc::new(SystemRng));
        let record = record(&start(), KeyPurpose::Token);
        let signer = start().signer(&record).unwrap();
        assert_eq!(signer.key_id(), &record.id);
        assert_eq!(signer.public_key(), record.public_key);
        let signature = signer.sign(b"message").await.unwrap();
        let point = &record.public_key[26..]; // SubjectPublicKeyInfo of P-256 has a fixed head
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"message", &signature).unwrap();
    }

    #[test]
    fn rule_k9_a_key_serves_one_purpose() {
        let custody = custody();
        let tls = record(&custody, KeyPurpose::TlsServer);
        assert!(custody.tls_key(&tls).is_ok());
        assert!(matches!(custody.signer(&tls), Err(CustodyError::WrongPurpose { .. })));
        for purpose in [KeyPurpose::Token, KeyPurpose::CertificateAuthority] {
            let signing = record(&custody, purpose);
            assert!(custody.signer(&signing).is_ok());
            assert!(matches!(custody.tls_key(&signing), Err(CustodyError::WrongPurpose { .. })));
        }
        // Changing the purpose in the database does not help.
        let ca = record(&custody, KeyPurpose::CertificateAuthority);
        let relabelled = KeyRecord { purpose: KeyPurpose::Token, ..ca };
        assert!(matches!(
            custody.signer(&relabelled),
            Err(CustodyError::Sealed { source: SealError::Tampered, .. })
        ));
    }

    #[test]
    fn sealed_bytes_or_a_public_key_of_another_row_are_refused() {
        let custody = custody();
        let (one, two) = (record(&custody, KeyPurpose::Token), record(&custody, KeyPurpose::Token));
        let moved = KeyRecord { sealed: two.sealed, ..one.clone() };
        assert!(matches!(custody.signer(&moved), Err(CustodyError::Sealed { .. })));
        let foreign = KeyRecord { public_key: two.public_key, ..one };
        assert!(matches!(custody.signer(&foreign), Err(CustodyError::OtherKey { .. })));
    }

    #[test]
    fn the_wrong_master_key_is_named_so() {
        let record = record(&custody(), KeyPurpose::Token);
        let Err(CustodyError::Sealed { source, .. }) = custody().signer(&record) else { panic!("it opened") };
        assert_eq!(source, SealError::OtherMasterKey);
        assert!(source.to_string().contains("another master key"));
    }

    #[test]
    fn the_pepper_is_stable_and_differs_from_the_key_encryption_key() {
        let text = MasterKey::generate(&SystemRng).to_text();
        let master = || MasterKey::from_text(text.expose()).unwrap();
        let (one, two) =
            (Custody::new(master(), Arc::new(SystemRng)), Custody::new(master(), Arc::new(SystemRng)));
        assert_eq!(one.pepper().expose(), two.pepper().expose());
        assert_ne!(one.pepper().expose(), master().derive::<32>("key encryption").expose());
        assert_ne!(one.pepper().expose(), custody().pepper().expose());
    }

    #[test]
    fn invariant_4_custody_and_records_print_no_key() {
        let custody = custody();
        assert_eq!(format!("{custody:?}"), "Custody(…)");
        let record = record(&custody, KeyPurpose::TlsServer);
        let key = custody.tls_key(&record).unwrap();
        let pkcs8 = custody.open(&record).unwrap();
        let printed = format!("{key:?} {record:?} {pkcs8:?}");
        // PKCS#8 of a P-256 key has the private number at octets 36 to 67: neither as numbers nor as hexadecimal.
        let private = &pkcs8.expose()[36..68];
        let numbers = format!("{:?}", &private[..4]).replace(['[', ']'], "");
        let digits: String = private[..4].iter().map(|octet| format!("{octet:02x}")).collect();
        assert!(!printed.contains(&numbers) && !printed.to_lowercase().contains(&digits), "{printed}");
        assert!(!printed.contains("sealed:"), "{printed}");
    }
}
