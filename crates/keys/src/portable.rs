//! A key that its owner takes away: made by `countersign cert request` on the partner's machine, or for the demo
//! partners of `quickstart`. It is never sealed, stored or kept by the product (rule P8).

use crate::custody::CustodyError;
use crate::ecdsa::P256Key;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_model::{KeyId, Secret};

/// A P-256 key pair that can be written out.
#[derive(Debug)]
pub struct PortableKey(P256Key);

impl PortableKey {
    /// A new pair.
    ///
    /// # Errors
    /// [`CustodyError::Library`] only.
    pub fn generate() -> Result<Self, CustodyError> {
        Ok(Self(P256Key::generate()?))
    }

    /// RFC 7638 thumbprint of the public JWK.
    pub fn id(&self) -> &KeyId {
        self.0.id()
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn public_key(&self) -> &[u8] {
        self.0.spki()
    }

    /// Signs, for the proof of possession in a CSR (RFC 2986): `r || s`, 64 octets.
    ///
    /// # Errors
    /// [`CustodyError::Library`] only.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], CustodyError> {
        self.0.sign_now(message)?.try_into().map_err(|_| CustodyError::Library)
    }

    /// PKCS#8 in PEM (RFC 7468 section 10), for a file of mode 0600: [`crate::file::create_private`].
    ///
    /// # Errors
    /// [`CustodyError::Library`] only.
    pub fn to_pem(&self) -> Result<Secret<String>, CustodyError> {
        let pkcs8 = self.0.to_pkcs8()?;
        let encoded = Secret::new(STANDARD.encode(pkcs8.expose()));
        let mut pem = String::with_capacity(encoded.expose().len() + 80);
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = encoded.expose().as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(Secret::new(pem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn a_portable_key_signs_and_is_written_as_pem_that_others_read() {
        let key = PortableKey::generate().unwrap();
        let signature = key.sign(b"request").unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.public_key()[26..])
            .verify(b"request", &signature)
            .unwrap();
        let pem = key.to_pem().unwrap();
        assert!(pem.expose().lines().all(|line| line.len() <= 64));
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).unwrap()
        else {
            panic!("not PKCS#8");
        };
        assert_eq!(P256Key::from_pkcs8(der.secret_pkcs8_der()).unwrap().id(), key.id());
    }

    #[test]
    fn invariant_4_a_portable_key_prints_its_identifier_only() {
        let key = PortableKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("PortableKey(P256Key {{ id: {:?}, .. }})", key.id()));
    }
}
