//! Limits on who holds how much (rule G15).

use crate::world::{Options, World, get};
use countersign_gateway::Limits;
use countersign_gateway::guard::limits::{MAX_CHUNK_OVERHEAD_BYTES, MAX_HEAD_BYTES, MAX_HEADER_COUNT};

#[tokio::test]
async fn rule_g15_connections_of_one_client_are_capped() {
    let limits = Limits { connections_per_client: 1, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    // Over all workers, of which there are two.
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..6 {
        let mut raw = world.connect(Some(&world.acme)).await;
        let reply = raw.call(get("/data/", &token)).await;
        if reply.status == 200 {
            open.push(raw);
        } else {
            assert_eq!(reply.refusal(), (503, "connections_exhausted".to_owned()));
            assert!(reply.header("retry-after").is_some());
            raw.closed().await;
            refused += 1;
        }
    }
    assert_eq!((open.len(), refused), (1, 5));
}

#[tokio::test]
async fn rule_g15_the_largest_limits_still_answer_with_a_document() {
    let mut limits = Limits::default();
    limits.sizes.head_bytes = MAX_HEAD_BYTES;
    limits.sizes.header_count = MAX_HEADER_COUNT;
    limits.sizes.chunk_overhead_bytes = MAX_CHUNK_OVERHEAD_BYTES;
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut raw, token) = world.acme().await;
    // To the local service: the upstream has a limit of its own.
    let many = get("/oauth2/x", &token).replace("\r\n\r\n", &format!("\r\n{}\r\n", "X: y\r\n".repeat(250)));
    assert_eq!(raw.call(many).await.status, 200);
    let long = get(&format!("/data/{}", "a".repeat(66_000)), &token);
    assert_eq!(raw.call(long).await.refusal(), (431, "request_header_too_large".to_owned()));
    for overhead in
        [format!("1;{}\r\na\r\n", "x".repeat(20_000)), format!("0\r\na: {}\r\n\r\n", "x".repeat(20_000))]
    {
        let (mut raw, token) = world.acme().await;
        let head = get("/data/", &token)
            .replacen("GET", "POST", 1)
            .replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        raw.send(head + &overhead).await;
        assert_eq!(raw.reply().await.refusal(), (431, "request_header_too_large".to_owned()));
    }
}
