//! The listeners' own certificates: issued by our CA or brought by the operator, swapped without dropping a connection
//! (rule T10).

use crate::config::secret_ref::SecretRef;
use crate::config::sections::listeners::CertificateSource;
use arc_swap::ArcSwap;
use countersign_ca::{CertificateAuthority, Refusal};
use countersign_keys::tls::{TlsKeyError, read_pem_file};
use countersign_keys::{Custody, CustodyError};
use countersign_model::Timestamp;
use countersign_pki::pem;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;

/// The certificate that a listener proves itself with now.
#[derive(Debug)]
pub(super) struct Present {
    source: ArcSwap<CertificateSource>,
    certified: ArcSwap<CertifiedKey>,
}

/// A certificate that was loaded and is not yet shown to anybody: a reload loads all of them before it swaps one.
pub(super) struct Loaded {
    source: CertificateSource,
    certified: CertifiedKey,
}

impl Loaded {
    /// Loads or issues it.
    pub(super) async fn load(
        source: CertificateSource,
        ca: &CertificateAuthority,
        custody: &Custody,
    ) -> Result<Self, CertificateError> {
        let certified = certified(&source, ca, custody).await?;
        Ok(Self { source, certified })
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Our CA does not issue it.
    #[error("the server certificate: {0}")]
    Authority(#[from] Refusal),
    /// Its key does not open.
    #[error("the key of the server certificate: {0}")]
    Custody(#[from] CustodyError),
    /// The operator's key cannot be used.
    #[error("the key of the server certificate: {0}")]
    Key(#[from] TlsKeyError),
    /// The operator's chain cannot be used.
    #[error("{0} holds no certificate chain")]
    Chain(PathBuf),
    /// The key is not that of the certificate.
    #[error("the key and the certificate in {0} do not belong together")]
    Mismatch(PathBuf),
    /// A key in another place than a file.
    #[error("the key of a server certificate is a file")]
    KeyReference,
}

impl Present {
    /// Loads or issues it.
    pub(super) async fn load(
        source: CertificateSource,
        ca: &CertificateAuthority,
        custody: &Custody,
    ) -> Result<Self, CertificateError> {
        let Loaded { source, certified } = Loaded::load(source, ca, custody).await?;
        Ok(Self { source: ArcSwap::from_pointee(source), certified: ArcSwap::from_pointee(certified) })
    }

    /// Shows another one from the next handshake on.
    pub(super) fn swap(&self, loaded: Loaded) {
        self.source.store(Arc::new(loaded.source));
        self.certified.store(Arc::new(loaded.certified));
    }

    /// Loads it anew: a file that was replaced, or a certificate of ours that is due for renewal.
    pub(super) async fn refresh(
        &self,
        ca: &CertificateAuthority,
        custody: &Custody,
    ) -> Result<(), CertificateError> {
        let source = self.source.load_full();
        self.certified.store(Arc::new(certified(&source, ca, custody).await?));
        Ok(())
    }

    /// Its last moment of validity, for the metric.
    pub(super) fn not_after(&self) -> Option<Timestamp> {
        let certified = self.certified.load();
        countersign_pki::not_after(certified.cert.first()?)
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.load_full())
    }
}

async fn certified(
    source: &CertificateSource,
    ca: &CertificateAuthority,
    custody: &Custody,
) -> Result<CertifiedKey, CertificateError> {
    match source {
        CertificateSource::Issued(names) => {
            let issued = ca.server_certificate(names).await?;
            let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
            Ok(CertifiedKey::new(chain, custody.tls_key(&issued.key)?))
        }
        CertificateSource::Files { chain: path, key } => {
            let SecretRef::File(key) = key else { return Err(CertificateError::KeyReference) };
            let unusable = || CertificateError::Chain(path.clone());
            let text = std::fs::read(path).map_err(|_| unusable())?;
            let chain = pem::decode_all(pem::Label::Certificate, &text).map_err(|_| unusable())?;
            if chain.is_empty() {
                return Err(unusable());
            }
            let chain = chain.into_iter().map(CertificateDer::from).collect();
            let certified = CertifiedKey::new(chain, read_pem_file(key)?);
            match certified.keys_match() {
                Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                    Ok(certified)
                }
                Err(_) => Err(CertificateError::Mismatch(path.clone())),
            }
        }
    }
}
