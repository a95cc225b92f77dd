//! An upstream that breaks off in the middle of its answer. The head is out, so no refusal can be sent: the client's
//! connection or stream ends, and metric, log and audit record say why.

use crate::http2;
use crate::played::{Link, Played};
use crate::world::SOON;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// What the upstream sends before it ends the connection, whether with a reset, and the reason.
const BREAKS: [(&str, bool, &str); 7] = [
    ("200 OK\r\ncontent-length: 10\r\n\r\nhalf", false, "upstream_broke_off"),
    ("200 OK\r\ncontent-length: 10\r\n\r\nhalf", true, "upstream_broke_off"),
    ("200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", false, "upstream_broke_off"),
    ("200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n9\r\nha", false, "upstream_broke_off"),
    ("200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", true, "upstream_broke_off"),
    ("200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", false, "upstream_response_invalid"),
    ("200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf!\r\n", false, "upstream_response_invalid"),
];

async fn break_off(link: &mut Link, answer: &str, reset: bool) {
    link.head().await;
    link.write(format!("HTTP/1.1 {answer}").as_bytes()).await;
    if reset {
        link.0.set_zero_linger().unwrap();
    } else {
        link.0.shutdown().await.unwrap();
    }
}

/// The record of the only answer that broke off.
async fn recorded(played: &Played, reason: &str) {
    let log = played.world.audit_log().await;
    let records: Vec<_> = log.lines().filter(|line| line.contains("answer_broken_off")).collect();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    for words in [reason, "acme-pay", "\"route\":\"played\"", "\"path\":\"/played/\""] {
        assert!(record.contains(words), "{words}: {record}");
    }
}

/// How often this was counted, in all tests of this process.
fn counted(reason: &str) -> u64 {
    let labels = format!(r#"countersign_answers_broken_off_total{{route="played",reason="{reason}"}}"#);
    let text = crate::observed::metrics().render();
    let line = text.lines().find(|line| line.starts_with(&labels));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_the_connection_of_http1_and_is_told() {
    for (answer, reset, reason) in BREAKS {
        let played = Played::start().await;
        let before = counted(reason);
        let mut caller = played.caller().await;
        caller.send(played.request("GET", "")).await;
        let mut link = played.accept().await;
        break_off(&mut link, answer, reset).await;
        drop(link);
        let received = timeout(SOON, caller.everything()).await.expect("the connection stays open");
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 200 "), "{answer:?}: {received:?}");
        // A reset overtakes what came before it.
        assert!(reset || received.contains("half"), "{answer:?}: {received:?}");
        assert!(!received.ends_with("\r\n0\r\n\r\n"), "{answer:?}: {received:?}");
        recorded(&played, reason).await;
        assert!(counted(reason) > before, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_the_stream_of_http2_and_is_told() {
    for (answer, reset, reason) in BREAKS {
        let played = Played::start().await;
        let (mut sender, _task) = http2::connect(&played.world, Some(&played.world.acme)).await;
        let request = http2::request("/played/", &played.token, "");
        let upstream = async {
            let mut link = played.accept().await;
            break_off(&mut link, answer, reset).await;
        };
        let (response, ()) = tokio::join!(sender.send_request(request), upstream);
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{answer:?}");
        let body = timeout(SOON, response.into_body().collect()).await.expect("the stream stays open");
        assert!(body.is_err(), "{answer:?}: half is taken for the whole");
        recorded(&played, reason).await;
        // The connection goes on.
        let request = http2::request("/data/", &played.token, "");
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_answer_that_comes_to_a_halt_is_told() {
    let played = Played::with(|upstream| upstream.response_timeout = Duration::from_millis(100)).await;
    let mut caller = played.caller().await;
    caller.send(played.request("GET", "")).await;
    let mut link = played.accept().await;
    link.head().await;
    link.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let received = timeout(SOON, caller.everything()).await.expect("the connection stays open");
    assert!(received.ends_with("half"), "{received:?}");
    recorded(&played, "upstream_too_slow").await;
}

/// That is the client's doing, and no fault of the upstream.
#[tokio::test]
async fn a_client_that_leaves_breaks_no_answer_off() {
    let played = Played::start().await;
    let mut caller = played.caller().await;
    caller.send(played.request("GET", "")).await;
    let mut link = played.accept().await;
    link.head().await;
    link.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert_eq!(timeout(SOON, caller.head()).await.expect("no answer").status, 200);
    drop(caller);
    assert!(link.is_reset().await);
    assert!(!played.world.audit_log().await.contains("answer_broken_off"));
}
