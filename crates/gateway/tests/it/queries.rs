//! Characters of queries that clients send unescaped, over both versions of HTTP.

use crate::http2_peer::Peer;
use crate::world::{SOON, World, get};
use tokio::time::timeout;

/// RFC 3986 has none of them in a query, and every WHATWG URL parser leaves them as they are.
#[tokio::test]
async fn what_url_parsers_leave_in_a_query_reaches_the_upstream_encoded() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    for (query, sent) in [
        ("q={%22a%22:[1,2]}", "q=%7B%22a%22:[1,2]%7D"),
        ("a^b", "a%5Eb"),
        ("a`b", "a%60b"),
        ("a|b=%7B", "a|b=%7B"),
        ("%7b{%7B", "%7b%7B%7B"),
    ] {
        let reply = raw.call(get(&format!("/data/x?{query}"), &token)).await;
        assert_eq!(reply.status, 200, "{query}");
        assert!(reply.text().starts_with(&format!("GET /x?{sent}\n")), "{query}: {}", reply.text());
    }
    let authorization = format!("Bearer {token}");
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let paths =
        [("/data/x?q={a}^`|b", 200), ("/data/{x}?q", 400), ("/data/x?a\\b", 400), ("/data/x?a#b", 400)];
    for (stream, (path, status)) in (1..).step_by(2).zip(paths) {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
            ("authorization", &authorization),
        ];
        peer.fields(stream, true, &fields).await;
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert!(outcome.has_status(status), "{path}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_refused_character_is_named_with_its_encoding_and_the_part_that_it_stands_in() {
    let world = World::start().await;
    let token = world.token("acme-pay", Some(&world.acme));
    for (target, code, told) in [
        ("/data/?a<b", "request_query_invalid", "The query contains `<`. Send it percent-encoded, as `%3C`."),
        ("/data/?a\\b", "request_query_invalid", "The query contains a backslash."),
        ("/data/?a=\"b\"", "request_query_invalid", "The query contains a quotation mark."),
        ("/data/?a#b", "request_query_invalid", "The query contains `#`."),
        ("/data/{id}", "request_path_invalid", "The path contains `{`. Send it percent-encoded, as `%7B`."),
        ("/data/?\u{e9}", "request_query_invalid", "The query contains a character beyond ASCII."),
    ] {
        let mut raw = world.connect(Some(&world.acme)).await;
        let reply = raw.call(get(target, &token)).await;
        assert_eq!(reply.refusal(), (400, code.to_owned()), "{target}");
        assert!(reply.text().contains(told), "{target}: {}", reply.text());
    }
}
