//! A private key at rest: a versioned envelope, AES-256-GCM (NIST SP 800-38D) twice.
//!
//! ```text
//! 0        1         9             21                 69         81
//! version  master id  nonce (wrap)  data key (wrapped)  nonce      private key, encrypted
//! 1 = v1   8          12            32 + 16 tag         12         n + 16 tag
//! ```
//! A random data key encrypts the private key; the key-encryption key, derived from the master key, wraps the data key
//! (so that a master key in a KMS or HSM later unwraps 32 octets and sees no private key). Both steps authenticate
//! version, master id, key id, purpose and algorithm as associated data: a database row whose sealed bytes were moved
//! to another key or another purpose does not open.

use crate::master::MasterKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use countersign_model::key::{KeyAlgorithm, KeyPurpose};
use countersign_model::{KeyId, Rng, Secret, rng};
use zeroize::Zeroize;

const VERSION: u8 = 1;
const MASTER_ID_LEN: usize = 8;
const HEADER_LEN: usize = 1 + MASTER_ID_LEN;
const DATA_KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = DATA_KEY_LEN + TAG_LEN;

/// What a sealed key is for; authenticated with it.
#[derive(Debug, Clone, Copy)]
pub struct SealedFor<'a> {
    /// The key's identifier.
    pub id: &'a KeyId,
    /// Its one use.
    pub purpose: KeyPurpose,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
}

/// Why sealed bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Made by a later version of the product, or no sealed key at all.
    #[error("the sealed key has a format that this version does not know")]
    UnknownFormat,
    /// Sealed under another master key: the operator gave the wrong one.
    #[error("the key was sealed under another master key than the one given")]
    OtherMasterKey,
    /// Changed, moved from another key or purpose, or cut.
    #[error("the sealed key was changed, or belongs to another key or purpose")]
    Tampered,
}

/// Seals and opens under one master key.
pub(crate) struct Sealer {
    key_encryption_key: Secret<[u8; 32]>,
    master_id: [u8; MASTER_ID_LEN],
}

impl Sealer {
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self {
            key_encryption_key: master.derive("key encryption"),
            // Tells a wrong master key from a changed row. It is an HKDF output: it says nothing of the key.
            master_id: *master.derive("master key id").expose(),
        }
    }

    pub(crate) fn seal(&self, private_key: &[u8], for_: SealedFor<'_>, rng: &dyn Rng) -> Vec<u8> {
        let data_key = Secret::new(rng::random::<DATA_KEY_LEN>(rng));
        let mut sealed =
            Vec::with_capacity(HEADER_LEN + 2 * NONCE_LEN + WRAPPED_LEN + private_key.len() + TAG_LEN);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.master_id);
        let associated = associated_data(&sealed, for_);
        encrypt(self.key_encryption_key.expose(), &associated, data_key.expose(), rng, &mut sealed);
        encrypt(data_key.expose(), &associated, private_key, rng, &mut sealed);
        sealed
    }

    pub(crate) fn open(&self, sealed: &[u8], for_: SealedFor<'_>) -> Result<Secret<Vec<u8>>, SealError> {
        if sealed.first() != Some(&VERSION) {
            return Err(SealError::UnknownFormat);
        }
        let (header, rest) = sealed.split_at_checked(HEADER_LEN).ok_or(SealError::Tampered)?;
        if header[1..] != self.master_id {
            return Err(SealError::OtherMasterKey);
        }
        let (wrapped, encrypted) =
            rest.split_at_checked(NONCE_LEN + WRAPPED_LEN).ok_or(SealError::Tampered)?;
        let associated = associated_data(header, for_);
        let data_key = decrypt(self.key_encryption_key.expose(), &associated, wrapped)?;
        let data_key =
            <&[u8; DATA_KEY_LEN]>::try_from(data_key.expose().as_slice()).map_err(|_| SealError::Tampered)?;
        decrypt(data_key, &associated, encrypted)
    }
}

/// Unambiguous: fields of variable length carry their length.
fn associated_data(header: &[u8], for_: SealedFor<'_>) -> Vec<u8> {
    let mut data = b"countersign sealed key".to_vec();
    data.extend_from_slice(header);
    for field in [for_.id.0.as_str(), for_.purpose.as_str(), for_.algorithm.as_str()] {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field.as_bytes());
    }
    data
}

/// Appends nonce, ciphertext and tag to `out`.
///
/// Random 96-bit nonces: the data key is used once, and the key-encryption key wraps far fewer keys than the 2^32 that
/// SP 800-38D section 8.3 allows.
#[expect(
    clippy::expect_used,
    reason = "a key of the right length; AES-GCM refuses only plaintexts of gigabytes"
)]
fn encrypt(key: &[u8; 32], associated: &[u8], plain: &[u8], rng: &dyn Rng, out: &mut Vec<u8>) {
    let nonce = rng::random::<NONCE_LEN>(rng);
    // With room for the tag, so that no copy of the plaintext is left behind in a smaller buffer.
    let mut buffer = Vec::with_capacity(plain.len() + TAG_LEN);
    buffer.extend_from_slice(plain);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 octets"))
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut buffer)
        .expect("a short plaintext");
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&buffer);
}

fn decrypt(key: &[u8; 32], associated: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
    let (nonce, encrypted) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Tampered)?;
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError::Tampered)?;
    let mut buffer = encrypted.to_vec();
    let opened = LessSafeKey::new(key).open_in_place(
        Nonce::assume_unique_for_key(*nonce),
        Aad::from(associated),
        &mut buffer,
    );
    let length = match opened {
        Ok(plain) => plain.len(),
        Err(_) => {
            buffer.zeroize();
            return Err(SealError::Tampered);
        }
    };
    buffer.truncate(length); // only the tag goes
    Ok(Secret::new(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRng;

    const PRIVATE: &[u8] = b"a private key, as PKCS#8 would be";

    fn id() -> KeyId {
        KeyId("kid-1".into())
    }

    fn token_key(id: &KeyId) -> SealedFor<'_> {
        SealedFor { id, purpose: KeyPurpose::Token, algorithm: KeyAlgorithm::EcdsaP256 }
    }

    fn sealer() -> Sealer {
        Sealer::new(&MasterKey::generate(&SystemRng))
    }

    #[test]
    fn a_sealed_key_opens_for_what_it_was_sealed_for_and_hides_itself() {
        let (sealer, id) = (sealer(), id());
        let sealed = sealer.seal(PRIVATE, token_key(&id), &SystemRng);
        assert_eq!(sealer.open(&sealed, token_key(&id)).unwrap().expose(), PRIVATE);
        assert!(!sealed.windows(8).any(|window| PRIVATE.starts_with(window)));
        assert_ne!(
            sealed,
            sealer.seal(PRIVATE, token_key(&id), &SystemRng),
            "no nonce or data key is used twice"
        );
    }

    #[test]
    fn rule_k9_a_key_sealed_for_one_purpose_does_not_open_for_another() {
        let (sealer, id) = (sealer(), id());
        let sealed = sealer.seal(PRIVATE, token_key(&id), &SystemRng);
        for purpose in [KeyPurpose::CertificateAuthority, KeyPurpose::TlsServer] {
            let other = SealedFor { purpose, ..token_key(&id) };
            assert_eq!(sealer.open(&sealed, other).err(), Some(SealError::Tampered), "{purpose:?}");
        }
        let other_id = KeyId("kid-2".into());
        assert_eq!(sealer.open(&sealed, token_key(&other_id)).err(), Some(SealError::Tampered));
    }

    #[test]
    fn another_master_key_is_told_apart_from_tampering() {
        let id = id();
        let sealed = sealer().seal(PRIVATE, token_key(&id), &SystemRng);
        assert_eq!(sealer().open(&sealed, token_key(&id)).err(), Some(SealError::OtherMasterKey));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let (sealer, id) = (sealer(), id());
        let sealed = sealer.seal(PRIVATE, token_key(&id), &SystemRng);
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[index] ^= 1 << bit;
                assert!(sealer.open(&changed, token_key(&id)).is_err(), "octet {index} bit {bit}");
            }
            assert!(sealer.open(&sealed[..index], token_key(&id)).is_err(), "cut at {index}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(sealer.open(&longer, token_key(&id)).is_err());
    }

    #[test]
    fn a_format_of_a_later_version_is_named_so() {
        let (sealer, id) = (sealer(), id());
        let mut sealed = sealer.seal(PRIVATE, token_key(&id), &SystemRng);
        sealed[0] = 2;
        assert_eq!(sealer.open(&sealed, token_key(&id)).err(), Some(SealError::UnknownFormat));
        assert_eq!(sealer.open(&[], token_key(&id)).err(), Some(SealError::UnknownFormat));
    }
}
