//! What a client sends beside its certificate (rule T13).

use crate::client::Dial;
use crate::pki::{Authority, Flaw, Identity};
use crate::world::{World, get, uri};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What rustls takes of a certificate message, less what is around the certificates.
const MAX_CHAIN_BYTES: usize = 60 * 1024;

/// `identity`, with these certificates sent beside its own.
fn beside(identity: &Identity, others: impl IntoIterator<Item = CertificateDer<'static>>) -> Identity {
    let mut identity = identity.clone();
    let mut room = MAX_CHAIN_BYTES;
    for certificate in others {
        match room.checked_sub(certificate.len() + 8) {
            Some(left) => room = left,
            None => break,
        }
        identity.chain.push(certificate);
    }
    identity
}

/// Nine CAs of one name, and then CAs that nobody asks for.
fn useless() -> Vec<CertificateDer<'static>> {
    let names =
        (0..9).map(|_| "clients".to_owned()).chain((0..30).map(|number| format!("unrelated {number}")));
    let mut certificates: Vec<_> = names.map(|name| Authority::new(&name).certificate).collect();
    let unrelated = certificates[9..].to_vec();
    certificates.extend(unrelated.iter().cycle().take(270).cloned());
    certificates
}

#[tokio::test]
async fn rule_t13_what_a_client_sends_beside_its_certificate_is_ignored() {
    let world = World::start().await;
    let token = world.token("acme-pay", Some(&world.acme));
    let with_issuer = beside(&world.acme, [world.clients_ca.certificate.clone()]);
    let with_others = beside(&world.acme, useless());
    let with_rubbish = beside(&world.acme, vec![CertificateDer::from(vec![0x30; 100]); 200]);
    for identity in [&with_issuer, &with_others, &with_rubbish] {
        for tls12 in [false, true] {
            let mut dial = world.dial(Some(identity));
            dial.tls12 = tls12;
            let config = trusting(&dial, identity);
            let reply = dial.raw_with(config).await.call(get("/data/", &token)).await;
            assert_eq!(reply.status, 200, "{} certificates", identity.chain.len());
        }
    }
    // Nor does it help: a certificate of another CA is unknown, whatever comes with it.
    let foreign = Authority::new("clients");
    let stranger = foreign.client(&uri("acme-pay"), Flaw::None);
    let stranger = beside(&stranger, [foreign.certificate.clone(), world.clients_ca.certificate.clone()]);
    assert!(!is_let_in(&world.dial(Some(&stranger)), &stranger).await);
    assert!(world.audit_log().await.contains("certificate_unknown_issuer"));
}

/// rustls' client refuses a chain that it cannot read; the resolver is not asked.
fn trusting(dial: &Dial, identity: &Identity) -> rustls::ClientConfig {
    let mut config = dial.clone();
    config.identity = None;
    let mut config = config.config();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key()).unwrap();
    let certified = CertifiedKey::new(identity.chain.clone(), key);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    config
}

async fn is_let_in(dial: &Dial, identity: &Identity) -> bool {
    let Ok(mut stream) = dial.tls_with(Arc::new(trusting(dial, identity))).await else { return false };
    let _ = stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    stream.read(&mut [0; 10]).await.is_ok_and(|n| n > 0)
}
