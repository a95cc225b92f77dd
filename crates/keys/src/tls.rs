//! Keys of our TLS listeners, as rustls takes them.

use crate::file::{PrivateFileError, read_private};
use rustls::crypto::aws_lc_rs::sign::{any_ecdsa_type, any_supported_type};
use rustls::sign::SigningKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroize;

const FILE_LIMIT_BYTES: u64 = 64 * 1024;

/// A key file that a listener cannot use.
#[derive(Debug, thiserror::Error)]
pub enum TlsKeyError {
    /// The file cannot be used.
    #[error("the private key's file cannot be used")]
    File(#[from] PrivateFileError),
    /// It holds no private key in PEM.
    #[error("{} holds no private key in PEM", path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
    /// It holds a kind of key that we do not use in TLS.
    #[error("{} holds a key of a kind that is not supported: use RSA, ECDSA or Ed25519", path.display())]
    Unsupported {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a listener's private key from a PEM file (PKCS#8, PKCS#1 or SEC 1).
///
/// # Errors
/// Refuses a file that anybody but its owner may read, and what is no key.
pub fn read_pem_file(path: &Path) -> Result<Arc<dyn SigningKey>, TlsKeyError> {
    let content = read_private(path, FILE_LIMIT_BYTES)?;
    let mut key = PrivateKeyDer::from_pem_slice(content.expose())
        .map_err(|_| TlsKeyError::NoKey { path: path.to_owned() })?;
    let signing = any_supported_type(&key).map_err(|_| TlsKeyError::Unsupported { path: path.to_owned() });
    key.zeroize();
    signing
}

pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::create_private;
    use crate::portable::PortableKey;
    use rustls::SignatureAlgorithm;

    #[test]
    fn a_pem_key_of_the_owner_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tls.key");
        let key = PortableKey::generate().unwrap();
        create_private(&path, key.to_pem().unwrap().expose().as_bytes()).unwrap();
        let signing = read_pem_file(&path).unwrap();
        assert_eq!(signing.algorithm(), SignatureAlgorithm::ECDSA);
        assert_eq!(signing.public_key().unwrap().as_ref(), key.public_key());
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_file_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tls.key");
        create_private(&path, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let error = read_pem_file(&path).unwrap_err();
        assert!(matches!(error, TlsKeyError::NoKey { .. }), "{error}");
        assert!(error.to_string().contains("tls.key"), "{error}");
    }
}
