//! When a connection to an upstream may carry another request: an answer that was meant for one caller, or for nobody, does
//! not become the answer to another one. The upstream writes just the bytes that a test wants, when it wants them.

use crate::client::Raw;
use crate::world::{Options, SOON, World, get};
use countersign_gateway::Upstream;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// An upstream that a test plays.
struct Played {
    listener: TcpListener,
    world: World,
    token: String,
}

/// One connection of the gateway to it.
struct Link(TcpStream);

impl Played {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstreams = vec![Upstream::new("played", &url).unwrap()];
        // Each worker has connections of its own.
        let world = World::start_with(Options { upstreams, workers: 1, ..Options::default() }).await;
        let token = world.token("acme-pay", Some(&world.acme));
        Self { listener, world, token }
    }

    async fn caller(&self) -> Raw {
        self.world.connect(Some(&self.world.acme)).await
    }

    fn request(&self, method: &str, more: &str) -> String {
        get("/played/", &self.token)
            .replacen("GET", method, 1)
            .replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
    }

    async fn accept(&self) -> Link {
        Link(timeout(SOON, self.listener.accept()).await.expect("no new connection").unwrap().0)
    }

    /// Sends a request of another caller and answers it on whichever connection it comes. Whether that was `old`.
    async fn next_comes_on(&self, mut old: Link, shown: &str) -> bool {
        let mut caller = self.caller().await;
        caller.send(self.request("GET", "")).await;
        let answer = async {
            tokio::select! {
                biased;
                true = old.is_asked() => (true, old),
                link = self.accept() => (false, link),
            }
        };
        let (on_old, mut link) = timeout(SOON, answer).await.unwrap_or_else(|_| panic!("nowhere: {shown:?}"));
        if !on_old {
            link.head().await;
        }
        link.write(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nits own").await;
        let reply = timeout(SOON, caller.reply()).await.unwrap_or_else(|_| panic!("no answer: {shown:?}"));
        assert_eq!((reply.status, reply.text()), (200, "its own"), "{shown:?}");
        on_old
    }
}

impl Link {
    async fn head(&mut self) {
        assert!(timeout(SOON, self.is_asked()).await.expect("no request"), "closed");
    }

    /// Whether a whole head came, and not the end.
    async fn is_asked(&mut self) -> bool {
        let mut head = Vec::new();
        while !head.windows(4).any(|w| w == b"\r\n\r\n") {
            if self.0.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    }

    /// Reads a body until it ends with this.
    async fn upload_until(&mut self, end: &[u8]) {
        let mut rest = Vec::new();
        while !rest.ends_with(end) {
            timeout(SOON, self.0.read_buf(&mut rest)).await.expect("no rest").unwrap();
        }
    }

    /// How the gateway ends the connection: with a reset, or in the usual way.
    async fn is_reset(&mut self) -> bool {
        let mut bytes = [0; 64];
        loop {
            match timeout(SOON, self.0.read(&mut bytes)).await.expect("it stays open") {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Writes, and waits until the gateway's kernel has it, as /proc/net/tcp tells.
    async fn write(&mut self, bytes: &[u8]) {
        // A connection that was given up takes nothing more.
        if self.0.write_all(bytes).await.is_err() {
            return;
        }
        let port = |address: SocketAddr| format!(":{:04X}", address.port());
        let Ok(peer) = self.0.peer_addr() else { return };
        let (local, remote) = (port(self.0.local_addr().unwrap()), port(peer));
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mut own =
                rows.filter(|row| row.len() > 4 && row[1].ends_with(&local) && row[2].ends_with(&remote));
            if own.next().is_none_or(|row| row[4].starts_with("00000000:")) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

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
    let played = Played::start().await;
    let address = played.listener.local_addr().unwrap();
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
