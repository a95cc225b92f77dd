//! The listeners' own certificates: issued by our CA or brought by the operator, swapped without dropping a connection
//! (rule T10).

use crate::config::certificate_files::{self, CertificateFileError};
use crate::config::sections::listeners::CertificateSource;
use crate::words::error_chain;
use arc_swap::ArcSwap;
use countersign_ca::{CertificateAuthority, Refusal};
use countersign_keys::{Custody, CustodyError};
use countersign_model::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
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
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let certified = Arc::new(certified(&source, ca, custody, purpose, now).await?);
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
    /// It comes from files, and they cannot be used.
    #[error(transparent)]
    File(#[from] CertificateFileError),
}

/// What a certificate is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To have one at all: an expired one is better than no listener, and readiness and log tell of it.
    Start,
    /// To replace the present one, which then had better be valid (rule T12).
    Replace,
}

impl Present {
    /// Loads or issues it.
    pub(super) async fn load(
        source: CertificateSource,
        ca: &CertificateAuthority,
        custody: &Custody,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        Ok(Self(ArcSwap::from_pointee(Loaded::load(source, ca, custody, Purpose::Start, now).await?)))
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
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        let before = self.0.load_full();
        let renewed = Loaded::load(before.source.clone(), ca, custody, Purpose::Replace, now).await?;
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
        Some(certificate_files::validity(&self.0.load().certified)?.not_after)
    }

    /// Whether callers accept it at `now`, as far as time tells.
    fn is_in_time(&self, now: Timestamp) -> bool {
        let validity = certificate_files::validity(&self.0.load().certified);
        validity.is_none_or(|it| it.not_before <= now && now <= it.not_after)
    }

    /// Logs that it has expired or will soon. One of our own is renewed long before; a failed renewal is logged by itself.
    pub(super) fn warn_of_end(&self, listener: &str, now: Timestamp) {
        let loaded = self.0.load();
        let CertificateSource::Files { chain, .. } = &loaded.source else { return };
        if let Err(error) = certificate_files::in_time(&loaded.certified, chain, now) {
            tracing::error!(
                listener,
                error = error_chain(&error),
                "callers refuse the server certificate, and this node is not ready: replace its files"
            );
        } else if let Some(end) = certificate_files::expires_soon(&loaded.certified, now) {
            tracing::warn!(
                listener,
                file = %chain.display(),
                not_after = %end,
                "the server certificate expires soon: replace its files"
            );
        }
    }
}

/// The certificates of all listeners, by the listener's name.
#[derive(Debug)]
pub(super) struct ServerCertificates(pub(super) Vec<(String, Arc<Present>)>);

impl countersign_api::ServerCertificates for ServerCertificates {
    fn out_of_time(&self, now: Timestamp) -> Vec<String> {
        let refused = self.0.iter().filter(|(_, certificate)| !certificate.is_in_time(now));
        refused.map(|(listener, _)| listener.clone()).collect()
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
    purpose: Purpose,
    now: Timestamp,
) -> Result<CertifiedKey, CertificateError> {
    match source {
        CertificateSource::Issued(names) => {
            let issued = ca.server_certificate(names).await?;
            let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
            Ok(CertifiedKey::new(chain, custody.tls_key(&issued.key)?))
        }
        CertificateSource::Files { chain, key } => {
            let certified = certificate_files::read(chain, key)?;
            match certificate_files::in_time(&certified, chain, now) {
                Err(error) if purpose == Purpose::Replace => Err(error.into()),
                _ => Ok(certified),
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
