//! A server certificate in files: read, and compared with its key (rule T12). Whether it is in time is for its user to ask:
//! a start serves an expired one, a reload does not.

use super::secret_ref::SecretRef;
use countersign_keys::tls::{TlsKeyError, read_pem_file};
use countersign_model::Timestamp;
use countersign_pki::{Validity, chain_validity, pem};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};

/// How long before its end a certificate from files is warned of. Tools that renew such certificates do it earlier.
const SOON_S: i64 = 14 * 86_400;

/// Why a certificate in files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFileError {
    /// The operator's key cannot be used.
    #[error("the key of the server certificate: {0}")]
    Key(#[from] TlsKeyError),
    /// The operator's chain cannot be read.
    #[error("the certificate chain {path} cannot be read")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operator's chain cannot be used.
    #[error("{0} holds no certificate chain")]
    Chain(PathBuf),
    /// The key is not that of the certificate.
    #[error("the certificate in {chain} does not match the private key in {key}")]
    Mismatch {
        /// The file of the chain.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A key in another place than a file.
    #[error("the key of a server certificate is a file")]
    KeyReference,
    /// The certificate, or one that it was issued under, has expired.
    #[error("the certificate chain {path} expired at {at}")]
    Expired {
        /// The file of the chain.
        path: PathBuf,
        /// When.
        at: Timestamp,
    },
    /// The certificate, or one that it was issued under, is not valid yet.
    #[error("the certificate chain {path} is not valid before {at}")]
    NotYetValid {
        /// The file of the chain.
        path: PathBuf,
        /// From when on it is.
        at: Timestamp,
    },
}

/// Reads a chain and its key.
///
/// # Errors
/// When one of them cannot be read, is open to others, or does not match the other.
pub fn read(path: &Path, key: &SecretRef) -> Result<CertifiedKey, CertificateFileError> {
    let SecretRef::File(key) = key else { return Err(CertificateFileError::KeyReference) };
    let unusable = || CertificateFileError::Chain(path.to_owned());
    let text = std::fs::read(path)
        .map_err(|source| CertificateFileError::Unreadable { path: path.to_owned(), source })?;
    let chain = pem::decode_all(pem::Label::Certificate, &text).map_err(|_| unusable())?;
    chain_validity(&chain).ok_or_else(unusable)?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let certified = CertifiedKey::new(chain, read_pem_file(key)?);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(_) => Err(CertificateFileError::Mismatch { chain: path.to_owned(), key: key.clone() }),
    }
}

/// The time in which every certificate of the chain is valid.
pub fn validity(certified: &CertifiedKey) -> Option<Validity> {
    chain_validity(&certified.cert)
}

/// Refuses a chain that is not valid at `now`. `path` names it.
///
/// # Errors
/// When it has expired, or is not valid yet.
pub fn in_time(certified: &CertifiedKey, path: &Path, now: Timestamp) -> Result<(), CertificateFileError> {
    let path = || path.to_owned();
    match validity(certified) {
        Some(validity) if validity.not_after < now => {
            Err(CertificateFileError::Expired { path: path(), at: validity.not_after })
        }
        Some(validity) if validity.not_before > now => {
            Err(CertificateFileError::NotYetValid { path: path(), at: validity.not_before })
        }
        _ => Ok(()),
    }
}

/// When it expires, if that is soon.
pub fn expires_soon(certified: &CertifiedKey, now: Timestamp) -> Option<Timestamp> {
    let end = validity(certified)?.not_after;
    (now <= end && end < now.plus_s(SOON_S)).then_some(end)
}
