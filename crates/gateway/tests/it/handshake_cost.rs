//! What a client sends beside its certificate, and what becomes of a network whose handshakes fail (rule T13).

use crate::client::Dial;
use crate::handshake_cpu::hello_in_a_record;
use crate::observed::metrics;
use crate::pki::{Authority, Flaw, Identity};
use crate::world::{Options, World, get, uri};
use countersign_gateway::{Descriptors, Limits, Networks, Snapshot};
use countersign_policy::RouteTable;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// What rustls takes of a certificate message, less what is around the certificates.
const MAX_CHAIN_BYTES: usize = 60 * 1024;

/// `identity`, with these certificates sent beside its own.
pub(crate) fn beside(
    identity: &Identity,
    others: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Identity {
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
pub(crate) fn useless() -> Vec<CertificateDer<'static>> {
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
    assert!(world.audit_log_with("certificate_unknown_issuer").await.contains("certificate_unknown_issuer"));
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

pub(crate) async fn is_let_in(dial: &Dial, identity: &Identity) -> bool {
    let Ok(mut stream) = dial.tls_with(Arc::new(trusting(dial, identity))).await else { return false };
    let _ = stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    stream.read(&mut [0; 10]).await.is_ok_and(|n| n > 0)
}

/// Connects from an address of the loopback network, and says whether a handshake with this certificate is done.
async fn is_let_in_from(source: [u8; 4], world: &World, identity: &Identity) -> bool {
    let dial = world.dial(Some(identity));
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    let stream = socket.connect(dial.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(dial.config()));
    let Ok(mut stream) = connector.connect("localhost".try_into().unwrap(), stream).await else {
        return false;
    };
    let _ = stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    stream.read(&mut [0; 10]).await.is_ok_and(|n| n > 0)
}

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

/// A person who sets up a client fails more often than that.
#[tokio::test]
async fn rule_t13_eighty_failed_handshakes_turn_nobody_away() {
    let world = World::start().await;
    let stranger = Authority::new("clients").client(&uri("acme-pay"), Flaw::None);
    for _ in 0..80 {
        assert!(!is_let_in_from(ONE, &world, &stranger).await);
    }
    assert!(is_let_in_from(ONE, &world, &world.acme).await);
}

/// A handshake that is ended to make room has cost something, though it never failed.
#[tokio::test]
async fn rule_t13_handshakes_that_make_room_for_others_are_charged() {
    const CALLERS: usize = 4;
    let limits = Limits {
        failed_handshake_cpu: Duration::from_nanos(1),
        connections_per_address: 1000,
        handshake: Duration::from_secs(600),
        ..Limits::default()
    };
    let descriptors = Descriptors { callers: CALLERS, upstreams: 100 };
    let world = World::start_with(Options { limits, descriptors, workers: 1, ..Options::default() }).await;
    let mut held = Vec::new();
    for _ in 0..CALLERS {
        let mut stream = TcpStream::connect(world.dial(None).address).await.unwrap();
        stream.write_all(&hello_in_a_record()).await.unwrap();
        // The answer has begun, so that work was done for it.
        assert!(stream.read_u8().await.is_ok());
        held.push(stream);
    }
    // One of another network takes the place of the first.
    assert!(is_let_in_from(OTHER, &world, &world.acme).await);
    assert!(!is_let_in_from(ONE, &world, &world.acme).await, "its network is turned away");
}

#[tokio::test]
async fn rule_t13_a_network_whose_failures_cost_too_much_is_turned_away_before_tls() {
    // Nothing at once, and of the least failure more than ten seconds to pay it back.
    let limits = Limits { failed_handshake_cpu: Duration::from_nanos(1), ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let stranger = Authority::new("clients").client(&uri("acme-pay"), Flaw::None);
    assert!(is_let_in_from(ONE, &world, &world.acme).await, "what succeeds costs nothing");
    assert!(!is_let_in_from(ONE, &world, &stranger).await);
    // Its alert is out before it is counted.
    let mut tries = 0;
    while is_let_in_from(ONE, &world, &world.acme).await {
        tries += 1;
        assert!(tries < 1000, "it is let in again and again");
    }
    assert!(metrics().render().contains(r#"listener="public",version="none",result="over_budget"}"#));
    assert!(is_let_in_from(OTHER, &world, &world.acme).await, "another address is not touched");

    // The address of a balancer is everybody's, so that neither this nor the cap of connections holds for it.
    let present = world.snapshot.load_full();
    let limits = Limits { connections_per_address: 1, ..limits };
    world.snapshot.store(Arc::new(Snapshot {
        routes: RouteTable::default(),
        upstreams: present.upstreams.clone(),
        limits,
        balancers: Networks::new(vec!["127.0.0.1/32".parse().unwrap()]),
        internal_headers: present.internal_headers.clone(),
    }));
    let _open = [world.connect(None).await, world.connect(None).await, world.connect(None).await];
    for _ in 0..3 {
        assert!(!is_let_in_from(ONE, &world, &stranger).await);
        assert!(is_let_in_from(ONE, &world, &world.acme).await);
    }
}
