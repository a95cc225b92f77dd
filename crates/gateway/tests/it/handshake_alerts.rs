//! Rule T11: a handshake that the client ends is recorded with a reason of its own and the alert's name in the RFCs, so that
//! the operator can tell the partner what to mend.

use crate::world::{SOON, World};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that dislikes every server.
#[derive(Debug)]
struct Dislikes(CertificateError);

impl ServerCertVerifier for Dislikes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(self.0.clone().into())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn rule_t11_a_client_that_does_not_accept_the_server_is_told_from_a_broken_one() {
    for tls12 in [false, true] {
        let world = World::start().await;
        for (error, reason, alert) in [
            (CertificateError::UnknownIssuer, "tls_server_untrusted", "alert unknown_ca"),
            (CertificateError::NotValidForName, "tls_server_untrusted", "alert bad_certificate"),
            (CertificateError::Revoked, "tls_server_untrusted", "alert certificate_revoked"),
            (CertificateError::Expired, "tls_server_expired", "alert certificate_expired"),
        ] {
            let mut dial = world.dial(None);
            dial.tls12 = tls12;
            let mut config = dial.config();
            config.dangerous().set_certificate_verifier(Arc::new(Dislikes(error)));
            assert!(dial.tls_with(Arc::new(config)).await.is_err());
            world.recorded(&["handshake_refused", reason, &format!("\"{alert}\""), "127.0.0.1"]).await;
        }
    }
}

/// Before anything else: what a client would say of our answer.
#[tokio::test]
async fn rule_t11_every_alert_has_its_name_and_its_reason() {
    for (alert, reason, name) in [
        (10, "tls_alert_received", "alert unexpected_message"),
        (20, "tls_alert_received", "alert bad_record_mac"),
        (40, "tls_incompatible", "alert handshake_failure"),
        (42, "tls_server_untrusted", "alert bad_certificate"),
        (43, "tls_server_untrusted", "alert unsupported_certificate"),
        (44, "tls_server_untrusted", "alert certificate_revoked"),
        (45, "tls_server_expired", "alert certificate_expired"),
        (46, "tls_server_untrusted", "alert certificate_unknown"),
        (48, "tls_server_untrusted", "alert unknown_ca"),
        (49, "tls_server_untrusted", "alert access_denied"),
        (51, "tls_alert_received", "alert decrypt_error"),
        (70, "tls_incompatible", "alert protocol_version"),
        (71, "tls_incompatible", "alert insufficient_security"),
        (80, "tls_alert_received", "alert internal_error"),
        (112, "tls_alert_received", "alert unrecognized_name"),
        (120, "tls_incompatible", "alert no_application_protocol"),
        (200, "tls_alert_received", "alert 200"),
    ] {
        let world = World::start().await;
        let mut stream = TcpStream::connect(world.running.local_addr("public").unwrap()).await.unwrap();
        stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await.unwrap();
        world.recorded(&["handshake_refused", reason, &format!("\"{name}\"")]).await;
    }
}

#[tokio::test]
async fn rule_t11_what_is_no_tls_and_who_leaves_have_reasons_of_their_own() {
    let world = World::start().await;
    let address = world.running.local_addr("public").unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let _ = timeout(SOON, plain.read_to_end(&mut Vec::new())).await.expect("it stays open");
    world.recorded(&["handshake_refused", "tls_invalid"]).await;

    let old = ["s_client", "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0", "-connect", &address.to_string()];
    let openssl = std::process::Command::new("openssl").args(old).stdin(std::process::Stdio::null()).output();
    assert!(!openssl.unwrap().status.success());
    world.recorded(&["handshake_refused", "tls_incompatible"]).await;

    // It says whom it wants, and goes.
    let config = Arc::new(world.dial(None).config());
    let mut client = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut leaves = TcpStream::connect(address).await.unwrap();
    leaves.write_all(&hello).await.unwrap();
    assert!(leaves.read(&mut [0; 100]).await.unwrap() > 0);
    drop(leaves);
    world.recorded(&["handshake_refused", "tls_handshake_abandoned", "\"localhost\""]).await;
}
