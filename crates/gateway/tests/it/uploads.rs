//! Rule G18: who is still sending learns why he was refused. Many clients read nothing until they have sent everything, so
//! the caller here does so too: it sends the whole upload, and reads then.

use crate::client::Raw;
use crate::played::Played;
use crate::world::{Options, SOON, World, get};
use countersign_gateway::Limits;
use tokio::time::timeout;

/// More than the buffers of both kernels hold.
const LARGE: usize = 24 * 1024 * 1024;

fn upload(path: &str, token: &str, framing: &str) -> String {
    get(path, token).replacen("GET", "POST", 1).replace("\r\n\r\n", &format!("\r\n{framing}\r\n\r\n"))
}

fn of_length(path: &str, token: &str) -> String {
    upload(path, token, &format!("Content-Length: {LARGE}"))
}

async fn send_all(raw: &mut Raw, head: String) {
    raw.send(head).await;
    let piece = "x".repeat(64 * 1024);
    for _ in 0..LARGE / piece.len() {
        raw.send(piece.clone()).await;
    }
}

async fn refusal(raw: &mut Raw, head: String) -> (u16, String) {
    let sent_and_read = async {
        send_all(raw, head).await;
        raw.reply().await.refusal()
    };
    timeout(SOON, sent_and_read).await.expect("no answer")
}

#[tokio::test]
async fn rule_g18_a_refusal_reaches_a_caller_who_is_still_sending() {
    let mut limits = Limits::default();
    limits.sizes.body_bytes = 2 * LARGE as u64;
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let chunked = "Transfer-Encoding: chunked\r\n\r\n1800000\r\n"; // one chunk, of LARGE
    for (head, expected) in [
        (of_length("/data/", "no-token"), (401, "token_malformed")),
        (of_length("/nowhere/", &token), (404, "route_not_found")),
        (upload("/data/", &token, "Content-Length: 99000000"), (413, "request_body_too_large")),
        (upload("/data/", "no-token", chunked.trim_end()), (401, "token_malformed")),
        (upload("/data/", &token, &format!("X: y\r\nContent-Length: {LARGE}\r\nBad Name: z")), (400, "")),
    ] {
        let mut raw = world.connect(Some(&world.acme)).await;
        let (status, code) = refusal(&mut raw, head.clone()).await;
        assert_eq!(status, expected.0, "{head}: {code}");
        assert!(expected.1.is_empty() || code == expected.1, "{head}: {code}");
    }
}

#[tokio::test]
async fn rule_g18_a_rate_limit_reaches_a_caller_who_is_still_sending() {
    let limits = Limits { requests_per_client: 0, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let mut raw = world.connect(Some(&world.acme)).await;
    let head = upload("/data/", &token, "Content-Length: 9000000");
    raw.send(head).await;
    for _ in 0..9 {
        raw.send("x".repeat(1_000_000)).await;
    }
    let reply = timeout(SOON, raw.reply()).await.expect("no answer");
    assert_eq!(reply.refusal(), (503, "client_requests_exhausted".to_owned()));
}

/// It reads nothing of the upload; what it does then is its own affair.
#[tokio::test]
async fn rule_g18_an_early_answer_of_the_upstream_reaches_a_caller_who_is_still_sending() {
    for closes in [false, true, true, true, true, true, true, true, true] {
        let played = Played::start().await;
        let mut raw = played.caller().await;
        let upstream = async {
            let mut link = played.accept().await;
            link.head().await;
            link.write(b"HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 4\r\n\r\nfull").await;
            (!closes).then_some(link)
        };
        let caller = async {
            raw.send(upload("/played/", &played.token, "Content-Length: 9000000")).await;
            for _ in 0..9 {
                raw.send("x".repeat(1_000_000)).await;
            }
            let reply = timeout(SOON, raw.reply()).await.expect("no answer");
            (reply.status, reply.text().to_owned())
        };
        let (_link, reply) = tokio::join!(upstream, caller);
        assert_eq!(reply, (507, "full".to_owned()), "closes: {closes}");
    }
}
