//! What a client presents in its handshake: end entity and intermediates, in pieces. The product validates the end entity
//! alone; the path with what came beside it is validated here as well.
#![no_main]

use std::sync::LazyLock;

use countersign_fuzz::pieces;
use countersign_model::{IssuerId, Timestamp};
use countersign_pki::{PathOptions, Purpose, TrustAnchors, TrustedIssuer, validate_client, validate_path};

static ANCHORS: LazyLock<TrustAnchors> = LazyLock::new(|| {
    let certificate = include_bytes!("../seeds/anchor.der").to_vec();
    let id: IssuerId = "anchor".parse().expect("a name");
    TrustAnchors::new(vec![TrustedIssuer::new(id, certificate).expect("an anchor")])
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let pieces = pieces(data);
    let Some((end_entity, intermediates)) = pieces.split_first() else { return };
    // 2027-01-15: inside the validity of the seeds.
    let now = Timestamp::from_unix_s(1_800_000_000);
    let options = PathOptions { purpose: Purpose::Client, now, max_intermediates: None, crls: &[] };
    let path = validate_path(end_entity, intermediates, &ANCHORS, &options);
    if let Ok(peer) = validate_client(end_entity, &ANCHORS, now) {
        assert!(peer.is_valid_at(now));
        assert_eq!(peer.der(), *end_entity);
        path.expect("what is sent beside a good certificate does not hurt it");
    }
    // A certificate from hostile hands must not become an anchor that breaks something later.
    let id: IssuerId = "hostile".parse().expect("a name");
    if let Ok(issuer) = TrustedIssuer::new(id, end_entity.to_vec()) {
        let anchors = TrustAnchors::new(vec![issuer]);
        let _ = validate_client(end_entity, &anchors, now);
        let _ = validate_path(end_entity, intermediates, &anchors, &options);
    }
});
