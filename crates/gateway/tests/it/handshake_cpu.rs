//! What hostile handshakes cost beside an honest one (rule T13), measured as the gateway itself does. By name:
//! `cargo test --release -p countersign-gateway --test it -- --ignored --nocapture hostile_handshakes`.

use crate::client::Dial;
use crate::handshake_cost::{beside, is_let_in, useless};
use crate::observed::metrics;
use crate::pki::{Authority, Flaw, Identity};
use crate::world::{Options, World, uri};
use countersign_gateway::Limits;
use rustls::pki_types::CertificateDer;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One way to begin a handshake.
enum Hostile {
    Chain(Identity),
    Bytes(Vec<u8>),
}

impl Hostile {
    async fn shake_hands(&self, dial: &Dial) {
        match self {
            Self::Chain(identity) => drop(is_let_in(dial, identity).await),
            Self::Bytes(bytes) => {
                let mut stream = TcpStream::connect(dial.address).await.unwrap();
                let _ = stream.write_all(bytes).await; // refused in the middle of it, at times
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "measures CPU time: run it alone"]
#[expect(clippy::print_stdout, reason = "what it measured is what it is for")]
async fn rule_t13_hostile_handshakes_cost_at_most_five_times_an_honest_one() {
    // Nobody is turned away here: each of them is to be measured.
    let limits = Limits { failed_handshake_cpu: Duration::from_secs(1000), ..Limits::default() };
    let world = World::start_with(Options { limits, workers: 1, ..Options::default() }).await;
    let honest = Hostile::Chain(world.acme.clone());
    cost_us(&world, &honest, 50).await;
    let honest_us = cost_us(&world, &honest, 300).await;
    println!("handshakes: an honest one costs {honest_us:.0} µs");
    let mut worst = 0.0_f64;
    for (name, hostile) in shapes(&world) {
        cost_us(&world, &hostile, 5).await;
        let ratio = cost_us(&world, &hostile, 50).await / honest_us;
        println!("handshakes: {ratio:5.2} x honest: {name}");
        worst = worst.max(ratio);
    }
    let pool = useless();
    for seed in 0..1000 {
        worst = worst.max(cost_us(&world, &random_shape(&world, &pool, seed), 3).await / honest_us);
    }
    println!("handshakes: {worst:5.2} x honest: the worst of all, 1000 random chains among them");
    assert!(worst <= 5.0, "{worst}");
}

/// What a handshake of this shape costs, in microseconds: as the gateway itself measures it.
async fn cost_us(world: &World, hostile: &Hostile, times: u32) -> f64 {
    let dial = world.dial(Some(&world.acme));
    let began = measured_us();
    for _ in 0..times {
        hostile.shake_hands(&dial).await;
    }
    world.audit_log().await; // the last one is counted before it is recorded
    (measured_us() - began) / f64::from(times)
}

fn measured_us() -> f64 {
    let text = metrics().render();
    let lines = text.lines().filter(|line| line.starts_with("countersign_tls_handshake_cpu_seconds_sum{"));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum::<f64>() * 1e6
}

fn shapes(world: &World) -> Vec<(&'static str, Hostile)> {
    let foreign = Authority::new("clients");
    let stranger = foreign.client(&uri("acme-pay"), Flaw::None);
    let records = |message: &[u8], size| Hostile::Bytes(in_records(message, size));
    let list = |count: u16, step: u16| -> Vec<u8> {
        (0..count).flat_map(|number| (number.wrapping_mul(step)).to_be_bytes()).collect()
    };
    let prefixed = |bytes: Vec<u8>| [&u16_of(bytes.len())[..], &bytes].concat();
    let tiny: Vec<u8> =
        (0x4000..0x4000 + 4700_u16).flat_map(|kind| [kind.to_be_bytes(), [0, 0]].concat()).collect();
    let shares: Vec<u8> = (0x4000..0x4000 + 3700_u16)
        .flat_map(|group| [&group.to_be_bytes()[..], &[0, 1, 0]].concat())
        .collect();
    vec![
        ("namesakes and 270 others, unknown issuer", Hostile::Chain(beside(&stranger, useless()))),
        ("namesakes and 270 others, good certificate", Hostile::Chain(beside(&world.acme, useless()))),
        (
            "rubbish of 60 KiB",
            Hostile::Chain(beside(&stranger, vec![CertificateDer::from(vec![0; 1]); 7000])),
        ),
        ("1,500 purposes", Hostile::Chain(foreign.client_with_purposes(1500))),
        ("900 extensions", Hostile::Chain(foreign.client_with_extensions(900))),
        ("an honest hello and nothing more", records(&hello(&[], &[]), 16_384)),
        ("a hello in records of one octet", records(&hello(&[], &[]), 1)),
        ("a hello of 9 KB in records of one octet", records(&hello(&[], &extension(21, &[0; 9000])), 1)),
        ("a hello of 60 KB", records(&hello(&[], &extension(21, &[0; 60_000])), 16_384)),
        ("a hello of 19 KB", records(&hello(&[], &extension(21, &[0; 19_000])), 16_384)),
        ("9,500 cipher suites", records(&hello(&list(9500, 3), &[]), 16_384)),
        ("4,700 extensions", records(&hello(&[], &tiny), 16_384)),
        ("9,500 schemes", records(&hello(&[], &extension(50, &prefixed(list(9500, 7)))), 16_384)),
        ("3,700 key shares", records(&hello_of(&[], &extension(51, &prefixed(shares)), false), 16_384)),
        ("9,500 protocols", records(&hello(&[], &extension(16, &prefixed([1, b'x'].repeat(9500)))), 16_384)),
    ]
}

/// A chain of up to 60 KiB, of certificates that cannot help and of broken ones; the same for the same seed.
fn random_shape(world: &World, pool: &[CertificateDer<'static>], seed: u64) -> Hostile {
    let mut state = seed;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % u64::try_from(end).unwrap()).unwrap()
    };
    let count = 1 + below(400);
    let chain: Vec<CertificateDer<'static>> = (0..count)
        .map(|_| {
            let mut der = pool[below(pool.len())].to_vec();
            match below(8) {
                0 => der.truncate(1 + below(der.len() - 1)),
                1 => {
                    let at = below(der.len());
                    der[at] ^= 0xff;
                }
                _ => {}
            }
            CertificateDer::from(der)
        })
        .collect();
    let mut identity = beside(&world.acme, chain);
    if below(3) > 0 {
        let last = identity.chain.len() - 1;
        identity.chain.swap(0, last); // the end entity is one of the others
    }
    Hostile::Chain(identity)
}

/// An honest ClientHello, in one record.
pub(crate) fn hello_in_a_record() -> Vec<u8> {
    in_records(&hello(&[], &[]), 16_384)
}

/// A ClientHello (RFC 8446 section 4.1.2) that offers TLS 1.3 with X25519, and more.
fn hello(more_suites: &[u8], more_extensions: &[u8]) -> Vec<u8> {
    hello_of(more_suites, more_extensions, true)
}

fn hello_of(more_suites: &[u8], more_extensions: &[u8], key_share: bool) -> Vec<u8> {
    let mut extensions = extension(43, &[2, 3, 4]); // supported_versions
    extensions.extend(extension(10, &[0, 2, 0, 29])); // supported_groups
    extensions.extend(extension(13, &[0, 4, 4, 3, 8, 4])); // signature_algorithms
    if key_share {
        extensions.extend(extension(51, &[&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat()));
    }
    extensions.extend(more_extensions);
    let suites = [&[0x13, 0x01][..], more_suites].concat();
    let mut body = [&[3, 3][..], &[7; 32], &[0]].concat();
    body.extend([&u16_of(suites.len())[..], &suites, &[1, 0]].concat());
    body.extend([&u16_of(extensions.len())[..], &extensions].concat());
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &u16_of(content.len()), content].concat()
}

fn u16_of(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[22, 3, 1][..], &u16_of(piece.len()), piece].concat();
    message.chunks(size).flat_map(record).collect()
}
