//! The TLS of a listener (rules T1, T2, T4–T6, T9): 1.3 and 1.2 only, few suites, no resumption, and a client
//! certificate verifier of our own that leaves its verdict where the connection finds it.
//!
//! What it refuses to do: decide anything that may change while the connection is open. Revocation, registration and
//! the client's state are asked on every request (design, decision 20).

use crate::settings::{ClientCertificateRequest, ListenerSettings};
use countersign_model::{Clock, ReasonCode, Thumbprint, Timestamp};
use countersign_pki::{
    OutdatedCertificate, PeerCertificate, TrustAnchors, read_outdated_client, validate_client,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    SupportedCipherSuite,
};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

tokio::task_local! {
    /// What the handshake being polled has shown so far. rustls tells its verifier nothing about the connection, and
    /// nothing survives a handshake that fails; rule T11 wants both recorded.
    static OBSERVED: Rc<RefCell<Observed>>;
}

/// What is known of a handshake, also of one that failed.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The server name that the client asked for.
    pub(crate) sni: Option<String>,
    /// The client certificate that was accepted. Proves nothing until the handshake is complete.
    pub(crate) accepted: Option<Arc<PeerCertificate>>,
    /// The client certificate that was refused.
    pub(crate) refused: Option<Refused>,
}

/// A client certificate that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: ReasonCode,
    der: Vec<u8>,
    anchors: Arc<TrustAnchors>,
}

impl Refused {
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        countersign_pki::thumbprint(&self.der)
    }

    /// What is written in it, if nothing but its dates was wrong. Costs a signature.
    pub(crate) fn outdated(&self, now: Timestamp) -> Option<OutdatedCertificate> {
        match self.reason {
            ReasonCode::CertificateExpired | ReasonCode::CertificateNotYetValid => {
                read_outdated_client(&self.der, &self.anchors, now).ok()
            }
            _ => None,
        }
    }
}

/// Runs a handshake and hands out what was observed, whatever came of it.
pub(crate) async fn observe<F: Future>(handshake: F) -> (F::Output, Observed) {
    let observed = Rc::new(RefCell::new(Observed::default()));
    let output = OBSERVED.scope(observed.clone(), handshake).await;
    (output, observed.take())
}

fn note(what: impl FnOnce(&mut Observed)) {
    // Outside of `observe` there is nobody to tell.
    let _ = OBSERVED.try_with(|observed| what(&mut observed.borrow_mut()));
}

/// Makes the configuration of a listener that trusts `anchors`.
///
/// # Errors
/// When rustls finds no suite for the versions: cannot happen with the lists below.
pub(crate) fn server_config(
    listener: &ListenerSettings,
    certificate: Arc<dyn ResolvesServerCert>,
    anchors: &Arc<TrustAnchors>,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(provider());
    let algorithms = provider.signature_verification_algorithms;
    let time = Arc::new(OurTime(clock.clone()));
    let builder = ServerConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match listener.client_certificate {
        ClientCertificateRequest::Off => builder.with_no_client_auth(),
        request => builder.with_client_cert_verifier(Arc::new(Verifier {
            anchors: anchors.clone(),
            hints: anchors.issuers().iter().map(|issuer| issuer.subject_der().to_vec().into()).collect(),
            mandatory: request == ClientCertificateRequest::Required,
            clock: clock.clone(),
            algorithms,
        })),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Observing(certificate)));
    // Rule T6: rustls does not run the verifier again when a session is resumed, and it resumes by default.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Rule T2, and design, decision 7.
fn provider() -> CryptoProvider {
    static SUITES: &[SupportedCipherSuite] = &[
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        // The hybrid first: what is recorded today must not be read once there are quantum computers.
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// What clients may sign the handshake with: the keys of rule T9, never with SHA-1, and PKCS#1 v1.5 only on TLS 1.2.
const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

struct Verifier {
    anchors: Arc<TrustAnchors>,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("mandatory", &self.mandatory).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    // Some clients send no certificate unless its issuer is named (rule T4).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        // Rule T13: our anchors are the CAs that issue to clients, so nothing that a client sends beside its certificate
        // can be part of the path. Many send their issuer's; it is not looked at.
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match validate_client(end_entity, &self.anchors, self.clock.now()) {
            Ok(certificate) => {
                note(|observed| observed.accepted = Some(Arc::new(certificate)));
                Ok(ClientCertVerified::assertion())
            }
            Err(error) => {
                let reason = error.reason();
                let (der, anchors) = (end_entity.to_vec(), self.anchors.clone());
                note(|observed| observed.refused = Some(Refused { reason, der, anchors }));
                Err(rustls::Error::InvalidCertificate(alert_for(reason)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// The alert that says most to the partner's developer (RFC 8446 section 6.2).
fn alert_for(reason: ReasonCode) -> CertificateError {
    match reason {
        ReasonCode::CertificateExpired => CertificateError::Expired,
        ReasonCode::CertificateNotYetValid => CertificateError::NotValidYet,
        ReasonCode::CertificateUnknownIssuer => CertificateError::UnknownIssuer,
        ReasonCode::CertificatePurposeWrong => CertificateError::InvalidPurpose,
        _ => CertificateError::BadEncoding,
    }
}

/// Notes the server name on the way to the real resolver.
struct Observing(Arc<dyn ResolvesServerCert>);

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResolvesServerCert for Observing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        note(|observed| observed.sni = hello.server_name().map(str::to_owned));
        self.0.resolve(hello)
    }
}

struct OurTime(Arc<dyn Clock>);

impl fmt::Debug for OurTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurTime")
    }
}

impl rustls::time_provider::TimeProvider for OurTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now: Timestamp = self.0.now();
        let seconds = u64::try_from(now.unix_s()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_t2_only_the_listed_suites_are_offered() {
        let suites = provider().cipher_suites;
        let tls12: Vec<_> =
            suites.iter().filter(|suite| suite.tls13().is_none()).map(|suite| suite.suite()).collect();
        assert_eq!(suites.len() - tls12.len(), 3);
        for suite in tls12 {
            let name = format!("{suite:?}");
            assert!(
                name.starts_with("TLS_ECDHE_") && name.contains("_AES_") && name.contains("_GCM_"),
                "{name}"
            );
        }
    }

    #[test]
    fn rule_t9_sha1_is_no_handshake_signature() {
        assert!(!SCHEMES.contains(&SignatureScheme::RSA_PKCS1_SHA1));
        assert!(!SCHEMES.contains(&SignatureScheme::ECDSA_SHA1_Legacy));
    }
}
