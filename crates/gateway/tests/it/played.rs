//! An upstream that a test plays: it writes just the bytes that the test wants, when it wants them.

use crate::client::Raw;
use crate::world::{Options, SOON, World, get};
use countersign_gateway::Upstream;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// An upstream that a test plays.
pub(crate) struct Played {
    pub(crate) listener: TcpListener,
    pub(crate) world: World,
    pub(crate) token: String,
}

/// One connection of the gateway to it.
pub(crate) struct Link(pub(crate) TcpStream);

impl Played {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Upstream)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut upstream = Upstream::new("played", &url).unwrap();
        change(&mut upstream);
        // Each worker has connections of its own.
        let options = Options { upstreams: vec![upstream], workers: 1, ..Options::default() };
        let world = World::start_with(options).await;
        let token = world.token("acme-pay", Some(&world.acme));
        Self { listener, world, token }
    }

    pub(crate) async fn caller(&self) -> Raw {
        self.world.connect(Some(&self.world.acme)).await
    }

    pub(crate) fn request(&self, method: &str, more: &str) -> String {
        get("/played/", &self.token)
            .replacen("GET", method, 1)
            .replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
    }

    pub(crate) async fn accept(&self) -> Link {
        Link(timeout(SOON, self.listener.accept()).await.expect("no new connection").unwrap().0)
    }

    /// Whether the gateway has opened another connection. Asked after its answer, so nothing is on the way any more.
    pub(crate) async fn is_connecting(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.listener.accept() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    /// Sends a request of another caller and answers it on whichever connection it comes. Whether that was `old`.
    pub(crate) async fn next_comes_on(&self, mut old: Link, shown: &str) -> bool {
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
    pub(crate) async fn head(&mut self) {
        assert!(timeout(SOON, self.is_asked()).await.expect("no request"), "closed");
    }

    /// The head of a request, as it came.
    pub(crate) async fn read_head(&mut self) -> String {
        let head = timeout(SOON, self.try_head()).await.expect("no request").expect("closed");
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Whether a whole head came, and not the end.
    pub(crate) async fn is_asked(&mut self) -> bool {
        self.try_head().await.is_some()
    }

    async fn try_head(&mut self) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        while !head.windows(4).any(|w| w == b"\r\n\r\n") {
            if self.0.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return None;
            }
        }
        Some(head)
    }

    /// Reads a body until it ends with this.
    pub(crate) async fn upload_until(&mut self, end: &[u8]) {
        let mut rest = Vec::new();
        while !rest.ends_with(end) {
            timeout(SOON, self.0.read_buf(&mut rest)).await.expect("no rest").unwrap();
        }
    }

    /// How the gateway ends the connection: with a reset, or in the usual way.
    pub(crate) async fn is_reset(&mut self) -> bool {
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
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
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
