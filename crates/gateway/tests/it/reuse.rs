//! When a connection to an upstream may carry another request: an answer that was meant for one caller, or for nobody, does
//! not become the answer to another one. The upstream writes just the bytes that a test wants, when it wants them.

use crate::played::Played;
use crate::world::SOON;
use std::net::SocketAddr;
use tokio::time::timeout;

/// The states in /proc/net/tcp of the connections to `upstream` that the gateway has closed and still holds a port for:
/// FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSING.
fn ports_held(upstream: SocketAddr) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{:04X}", upstream.port());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let held = rows.filter(|row| row.len() > 4 && row[2].ends_with(&remote));
    let held = held.filter(|row| ["04", "05", "06", "0B"].contains(&row[3]));
    held.map(|row| row[3].to_owned()).collect()
}

const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// Method, answer, what comes a moment after the answer.
const UNFIT: [(&str, &str, &str); 18] = [
    ("HEAD", "200 OK\r\ncontent-length: 5\r\n\r\n", ""),
    ("HEAD", "200 OK\r\ncontent-length: 5\r\n\r\nhello", ""),
    ("HEAD", "200 OK\r\ncontent-length: 5\r\n\r\n", "hello"),
    ("HEAD", "200 OK\r\ncontent-length: 64\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"),
    ("GET", "204 No Content\r\ncontent-length: 5\r\n\r\n", ""),
    ("GET", "204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("GET", "304 Not Modified\r\ncontent-length: 5\r\n\r\n", "hello"),
    ("GET", "304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", ""),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged", ""),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok, and more", ""),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", "\r\n"),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok\r\n", ""),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "0\r\n\r\n"),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", ""),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 100 Continue\r\n\r\n", ""),
    ("GET", "200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", ""),
];

#[tokio::test]
async fn rule_g12_a_connection_whose_answer_may_go_on_is_not_used_again() {
    for (method, answer, later) in UNFIT {
        // A gateway that has no connection yet.
        let played = Played::start().await;
        let shown = format!("{method}: {answer} | {later}");
        let mut caller = played.caller().await;
        caller.send(played.request(method, "")).await;
        let mut link = played.accept().await;
        link.head().await;
        link.write(format!("HTTP/1.1 {answer}").as_bytes()).await;
        let reply = timeout(SOON, caller.reply_to(method == "HEAD")).await.expect("no answer");
        assert!(reply.status < 400 && !reply.text().contains("forged"), "{shown:?}");
        link.write(later.as_bytes()).await;
        assert!(!played.next_comes_on(link, &shown).await, "{shown:?}");
    }
}

/// Who closes first holds the port for a minute, and there are 28,000 to an upstream.
#[tokio::test]
async fn rule_g20_a_connection_that_is_given_up_holds_no_port() {
    // The kernel gives a port again that another test had a moment ago, with what that one has left on it.
    let (played, address) = loop {
        let played = Played::start().await;
        let address = played.listener.local_addr().unwrap();
        if ports_held(address).is_empty() {
            break (played, address);
        }
    };
    for (method, answer, _) in UNFIT.iter().filter(|(_, _, later)| later.is_empty()) {
        let shown = format!("{method}: {answer}");
        let mut caller = played.caller().await;
        caller.send(played.request(method, "")).await;
        let mut link = played.accept().await;
        link.head().await;
        link.write(format!("HTTP/1.1 {answer}").as_bytes()).await;
        assert!(timeout(SOON, caller.reply_to(*method == "HEAD")).await.expect("no answer").status < 400);
        assert!(link.is_reset().await, "{shown:?}");
    }
    // A caller that leaves in the middle of an answer.
    let mut caller = played.caller().await;
    caller.send(played.request("GET", "")).await;
    let mut link = played.accept().await;
    link.head().await;
    link.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert_eq!(timeout(SOON, caller.head()).await.expect("no answer").status, 200);
    drop(caller);
    assert!(link.is_reset().await, "broken off");
    assert_eq!(ports_held(address), Vec::<String>::new());
}

#[tokio::test]
async fn rule_g20_head_takes_no_connection_that_others_could_use() {
    let played = Played::start().await;
    let mut caller = played.caller().await;
    caller.send(played.request("GET", "")).await;
    let mut kept = played.accept().await;
    kept.head().await;
    kept.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(timeout(SOON, caller.reply()).await.expect("no answer").text(), "ok");
    for _ in 0..3 {
        caller.send(played.request("HEAD", "")).await;
        let mut link = played.accept().await;
        link.head().await;
        link.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
        assert_eq!(timeout(SOON, caller.reply_to(true)).await.expect("no answer").status, 200);
    }
    assert!(played.next_comes_on(kept, "after HEAD").await);
}

#[tokio::test]
async fn a_connection_whose_answer_was_in_order_is_used_again() {
    let played = Played::start().await;
    let mut link = None;
    for (method, more, answer) in [
        ("GET", "", "200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("GET", "", "200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("GET", "", "204 No Content\r\n\r\n"),
        ("GET", "", "304 Not Modified\r\netag: \"a\"\r\n\r\n"),
        ("POST", "Content-Length: 0\r\n", "201 Created\r\ncontent-length: 2\r\n\r\nok"),
        // Interim answers are a part of the answer (RFC 9110 section 15.2).
        ("GET", "", "103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("GET", "", "100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        ("POST", "Content-Length: 0\r\n", "102 Processing\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n"),
    ] {
        let mut caller = played.caller().await;
        caller.send(played.request(method, more)).await;
        let mut this = match link.take() {
            Some(link) => link,
            None => played.accept().await,
        };
        this.head().await;
        this.write(format!("HTTP/1.1 {answer}").as_bytes()).await;
        timeout(SOON, caller.reply()).await.expect("no answer");
        link = Some(this);
    }
    assert!(played.next_comes_on(link.unwrap(), "in order").await);
}

/// The first says that the upstream reads the request, and not that it has answered it.
#[tokio::test]
async fn a_connection_with_interim_answers_in_the_middle_of_a_request_is_used_again() {
    let played = Played::start().await;
    let mut caller = played.caller().await;
    caller.send(played.request("POST", "Content-Length: 10\r\n") + "abc").await;
    let mut link = played.accept().await;
    link.head().await;
    link.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n").await;
    caller.send("defghij").await;
    link.upload_until(b"defghij").await;
    // In two pieces: the head of an interim answer may come like that.
    link.write(b"HTTP/1.1 103 Early Hints\r\nlink: ").await;
    link.write(b"</a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(timeout(SOON, caller.reply()).await.expect("no answer").text(), "ok");
    assert!(played.next_comes_on(link, "interim").await);
}

/// What is still to come of the request would be read as the next one.
#[tokio::test]
async fn rule_g12_a_connection_whose_answer_came_before_the_whole_request_is_not_used_again() {
    for (interim, all_at_once) in [("", true), ("", false), (INTERIM, true), (INTERIM, false)] {
        let played = Played::start().await;
        let mut caller = played.caller().await;
        caller.send(played.request("POST", "Content-Length: 10\r\n") + "abc").await;
        let mut link = played.accept().await;
        link.head().await;
        if all_at_once {
            link.write(format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").as_bytes()).await;
            assert_eq!(timeout(SOON, caller.reply()).await.expect("no answer").text(), "ok");
        } else {
            link.write(format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").as_bytes()).await;
            assert_eq!(timeout(SOON, caller.head()).await.expect("no answer").status, 200);
            caller.send("defghij").await;
            // Until the rest is here the answer does not end.
            link.upload_until(b"defghij").await;
            link.write(b"k").await;
        }
        let shown = format!("all at once: {all_at_once}, {interim:?} first");
        assert!(!played.next_comes_on(link, &shown).await, "{shown}");
    }
}
