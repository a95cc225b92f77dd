//! The host of an HTTP/2 request (RFC 9113 section 8.3.1): `:authority`, or `host` where a client or a proxy translates
//! from HTTP/1.1, or both where they say the same.

use crate::http2_peer::Peer;
use crate::world::{Options, SOON, World};
use countersign_policy::route::TrustConfigurations;
use std::sync::atomic::Ordering;
use tokio::time::timeout;

type Field = (&'static str, &'static str);

const AUTHORITY: Field = (":authority", "localhost");
const HOST: Field = ("host", "localhost");
const OTHER: Field = ("host", "other.example");

#[tokio::test]
async fn rule_g12_the_host_is_taken_from_where_it_cannot_differ() {
    let trust = TrustConfigurations::only(["localhost".to_owned()]);
    let world = World::start_with(Options { trust, ..Options::default() }).await;
    let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let cases: [(&[Field], u16); 12] = [
        (&[AUTHORITY], 200),
        (&[HOST], 200),
        (&[("host", "LocalHost")], 200),
        (&[AUTHORITY, HOST], 200),
        (&[AUTHORITY, ("host", "LOCALHOST")], 200),
        (&[AUTHORITY, OTHER], 400),
        // Rule T5: the names of the listener, wherever the name stands.
        (&[OTHER], 421),
        (&[HOST, HOST], 400),
        (&[HOST, OTHER], 400),
        (&[AUTHORITY, HOST, HOST], 400),
        (&[("host", "local host")], 400),
        (&[], 400),
    ];
    let served = u64::try_from(cases.iter().filter(|(_, status)| *status == 200).count()).unwrap();
    let mut stream = 1;
    for (fields, status) in cases {
        let mut all = vec![(":method", "GET"), (":scheme", "https"), (":path", "/data/")];
        all.extend(fields.iter().filter(|(name, _)| name.starts_with(':')));
        all.extend(fields.iter().filter(|(name, _)| !name.starts_with(':')));
        all.push(("authorization", &authorization));
        peer.fields(stream, true, &all).await;
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert!(outcome.has_status(status), "{fields:?}: {outcome:?}");
        stream += 2;
    }
    assert_eq!(u64::try_from(world.upstream.requests.load(Ordering::SeqCst)).unwrap(), served);
}
