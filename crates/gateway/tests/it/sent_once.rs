//! Rule G17: no request is sent twice unless it cannot have been carried out, or changes nothing. Where it may have been
//! carried out, the answer says so.

use crate::client::Raw;
use crate::played::{Link, Played};
use crate::world::SOON;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// How an upstream ends a connection on which it has read a request.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Reset,
    /// It has said that it reads the request.
    ClosedAfterInterim,
    /// It has begun to answer.
    ClosedInHead,
}

const ENDS: [End; 4] = [End::Closed, End::Reset, End::ClosedAfterInterim, End::ClosedInHead];

impl End {
    async fn of(self, mut link: Link) {
        match self {
            Self::Closed => {}
            Self::Reset => link.0.set_zero_linger().unwrap(),
            Self::ClosedAfterInterim => link.write(b"HTTP/1.1 103 Early Hints\r\n\r\n").await,
            Self::ClosedInHead => link.write(b"HTTP/1.1 200 OK\r\ncontent-le").await,
        }
        if !matches!(self, Self::Reset) {
            link.0.shutdown().await.unwrap();
        }
    }
}

/// A gateway that keeps one connection to the upstream.
async fn kept() -> (Played, Raw, Link) {
    let played = Played::start().await;
    let mut caller = played.caller().await;
    caller.send(played.request("GET", "")).await;
    let mut link = played.accept().await;
    link.head().await;
    link.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(timeout(SOON, caller.reply()).await.expect("no answer").text(), "ok");
    (played, caller, link)
}

async fn broke_off(caller: &mut Raw, shown: &str) {
    let reply = timeout(SOON, caller.reply()).await.unwrap_or_else(|_| panic!("no answer: {shown}"));
    assert_eq!(reply.refusal(), (502, "upstream_broke_off".to_owned()), "{shown}");
    assert!(reply.text().contains("may have carried out"), "{shown}: {}", reply.text());
}

#[tokio::test]
async fn rule_g17_a_get_on_a_kept_connection_that_was_just_closed_is_sent_once_more_as_it_was() {
    for end in [End::Closed, End::Reset] {
        let (played, mut caller, mut link) = kept().await;
        caller.send(played.request("GET", "X-Mark: \u{e4} one\r\nX-Mark: two\r\n")).await;
        let first = link.read_head().await;
        end.of(link).await;
        let mut again = played.accept().await;
        assert_eq!(again.read_head().await, first, "{end:?}");
        again.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain").await;
        let reply = timeout(SOON, caller.reply()).await.expect("no answer");
        assert_eq!((reply.status, reply.text()), (200, "again"), "{end:?}");
        // The connection that it came on is kept like any other.
        assert!(played.next_comes_on(again, "after the second try").await, "{end:?}");
    }
}

#[tokio::test]
async fn rule_g17_a_get_is_sent_twice_and_not_three_times() {
    let (played, mut caller, mut link) = kept().await;
    caller.send(played.request("GET", "")).await;
    link.head().await;
    End::Closed.of(link).await;
    let mut again = played.accept().await;
    again.head().await;
    End::Closed.of(again).await;
    broke_off(&mut caller, "the second time").await;
    assert!(played.world.audit_log().await.contains("upstream_broke_off"));
}

/// The upstream has seen the request, and then stops listening. The caller must not read that nothing was sent.
#[tokio::test]
async fn rule_g17_a_get_whose_second_try_finds_nobody_may_have_been_carried_out() {
    for end in [End::Closed, End::Reset] {
        let (played, mut caller, mut link) = kept().await;
        caller.send(played.request("GET", "")).await;
        link.head().await;
        let Played { listener, .. } = played;
        drop(listener);
        end.of(link).await;
        broke_off(&mut caller, &format!("{end:?}")).await;
    }
}

/// On a connection that was new the upstream did not close an old one: it died of the request, or in the middle of it.
#[tokio::test]
async fn rule_g17_what_a_new_connection_broke_off_is_not_sent_again() {
    for end in ENDS {
        let played = Played::start().await;
        for (method, more) in [("GET", ""), ("HEAD", ""), ("POST", "Content-Length: 0\r\n")] {
            let mut caller = played.caller().await;
            caller.send(played.request(method, more)).await;
            let mut link = played.accept().await;
            link.head().await;
            end.of(link).await;
            if method == "HEAD" {
                assert_eq!(timeout(SOON, caller.reply_to(true)).await.expect("no answer").status, 502);
            } else {
                broke_off(&mut caller, &format!("{method} {end:?}")).await;
            }
        }
    }
}

#[tokio::test]
async fn rule_g17_nothing_else_is_sent_twice() {
    for end in ENDS {
        for (method, more, body) in [
            ("POST", "Content-Length: 0\r\n", ""),
            ("POST", "Content-Length: 5\r\n", "hello"),
            ("POST", "Content-Length: 9\r\n", "half"),
            ("POST", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            ("GET", "Content-Length: 5\r\n", "hello"),
            ("DELETE", "", ""),
            ("PUT", "Content-Length: 0\r\n", ""),
            ("OPTIONS", "", ""),
            ("QUERY", "", ""),
            ("GET", "", ""),
        ] {
            let repeats = method == "GET" && body.is_empty() && matches!(end, End::Closed | End::Reset);
            if repeats {
                continue;
            }
            let shown = format!("{method} {more:?} {end:?}");
            let (played, mut caller, mut link) = kept().await;
            caller.send(played.request(method, more) + body).await;
            link.head().await;
            end.of(link).await;
            broke_off(&mut caller, &shown).await;
            assert!(!played.is_connecting().await, "{shown}: sent again");
        }
    }
}
