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
pub(super) struct Present(ArcSwap<Loaded>);

/// A certificate that was loaded, with where it came from. A reload loads all of them before it swaps one.
#[derive(Debug)]
pub(super) struct Loaded {
    source: CertificateSource,
    certified: Arc<CertifiedKey>,
}

impl Loaded {
    /// Loads or issues it.
    pub(super) async fn load(
        source: CertificateSource,
        ca: &CertificateAuthority,
        custody: &Custody,
    ) -> Result<Self, CertificateError> {
        let certified = Arc::new(certified(&source, ca, custody).await?);
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
        Ok(Self(ArcSwap::from_pointee(Loaded::load(source, ca, custody).await?)))
    }

    /// Shows another one from the next handshake on.
    pub(super) fn swap(&self, loaded: Loaded) {
        self.0.store(Arc::new(loaded));
    }

    /// Loads it anew: a file that was replaced, or a certificate of ours that is due for renewal.
    pub(super) async fn refresh(
        &self,
        ca: &CertificateAuthority,
        custody: &Custody,
    ) -> Result<(), CertificateError> {
        let before = self.0.load_full();
        let renewed = Loaded::load(before.source.clone(), ca, custody).await?;
        self.replace(&before, renewed);
        Ok(())
    }

    /// Shows `renewed` in the place of `before`. A reload may have swapped in another one while it was loaded: the newer
    /// word stays.
    fn replace(&self, before: &Arc<Loaded>, renewed: Loaded) {
        self.0.compare_and_swap(before, Arc::new(renewed));
    }

    /// Its last moment of validity, for the metric.
    pub(super) fn not_after(&self) -> Option<Timestamp> {
        countersign_pki::not_after(self.0.load().certified.cert.first()?)
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
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
            let text = std::fs::read(path)
                .map_err(|source| CertificateError::Unreadable { path: path.clone(), source })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::sign::SigningKey;
    use rustls::{SignatureAlgorithm, SignatureScheme};

    #[derive(Debug)]
    struct NoKey;

    impl SigningKey for NoKey {
        fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
            None
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::ECDSA
        }
    }

    fn loaded(name: &str) -> Loaded {
        let chain = vec![CertificateDer::from(name.as_bytes().to_vec())];
        Loaded {
            source: CertificateSource::Issued(Vec::new()),
            certified: Arc::new(CertifiedKey::new(chain, Arc::new(NoKey))),
        }
    }

    fn shown(present: &Present) -> String {
        String::from_utf8(present.0.load().certified.cert[0].to_vec()).unwrap()
    }

    #[test]
    fn rule_t10_a_renewal_replaces_the_certificate_that_it_renews() {
        let present = Present(ArcSwap::from_pointee(loaded("first")));
        let before = present.0.load_full();
        present.replace(&before, loaded("renewed"));
        assert_eq!(shown(&present), "renewed");
    }

    #[test]
    fn rule_t10_a_renewal_that_began_before_a_reload_does_not_undo_it() {
        let present = Present(ArcSwap::from_pointee(loaded("first")));
        let before = present.0.load_full();
        present.swap(loaded("reloaded"));
        present.replace(&before, loaded("renewed"));
        assert_eq!(shown(&present), "reloaded");
    }
}
