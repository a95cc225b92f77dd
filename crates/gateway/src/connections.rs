//! The register of a worker's open connections, and how one is ended from outside (rule G14; design, decision 20).
//!
//! A connection whose certificate or client was revoked still gets one thing: the next request on it, within a moment,
//! is answered with 401. Then its task is dropped, running streams included: hyper's graceful shutdown alone would let a
//! streaming answer go on for ever (measured).

use crate::answers::Answers;
use crate::forward::Forwarded;
use crate::guard::timer::Timer;
use crate::guard::{Exchange, GuardTimes};
use crate::patience::Patience;
use countersign_model::{ClientId, IssuerId, Serial};
use countersign_policy::Peer;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Whose connections to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Those that presented this certificate.
    Certificate {
        /// SHA-256 of its issuer's SubjectPublicKeyInfo.
        issuer_key_hash: [u8; 32],
        /// Its serial number.
        serial: Serial,
    },
    /// Those that presented a certificate of this client, or made a call as it.
    Client(ClientId),
}

/// Between the order to cut and the drop: time for one more request to be told why. Well under the second of rule G14.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A client may speak through one connection, a front proxy's holds a few. A connection of more than these may be anybody's,
/// and is cut with each of them.
const MAX_CLIENTS_NOTED: usize = 16;

/// One open connection, shared by its task, its service and the register. Never leaves its thread.
pub(crate) struct Connection {
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// Which of our issuers signed the peer's certificate.
    pub(crate) issuer: Option<IssuerId>,
    /// The server name of the handshake.
    pub(crate) sni: Option<Arc<str>>,
    /// HTTP/2, where the guard has not checked the request.
    pub(crate) http2: bool,
    /// Over TLS.
    pub(crate) tls: bool,
    /// Its client has more connections than it may.
    pub(crate) over_limit: Cell<bool>,
    /// What guard and service tell each other.
    pub(crate) exchange: Rc<Exchange>,
    /// The answers that the peer has to take, on HTTP/2.
    pub(crate) answers: Answers,
    clients: RefCell<Vec<ClientId>>,
    forwarded: RefCell<Option<Rc<Forwarded>>>,
    /// Since when resets are counted, and how many there were.
    resets: Cell<Option<(Instant, u32)>>,
    reset_too_often: Cell<bool>,
    /// It has ended: what is dropped now was not taken back by the peer.
    over: Cell<bool>,
    order: Cell<Order>,
    cut_at: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    /// No further requests: `Connection: close`, GOAWAY.
    Finish,
    Finishing,
}

impl Connection {
    pub(crate) fn new(
        peer: Peer,
        issuer: Option<IssuerId>,
        sni: Option<String>,
        http2: bool,
        tls: bool,
    ) -> Self {
        Self {
            peer,
            issuer,
            sni: sni.map(Arc::from),
            http2,
            tls,
            over_limit: Cell::new(false),
            exchange: Rc::default(),
            answers: Answers::default(),
            clients: RefCell::default(),
            forwarded: RefCell::default(),
            resets: Cell::new(None),
            reset_too_often: Cell::new(false),
            over: Cell::new(false),
            order: Cell::new(Order::None),
            cut_at: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// Notes who calls, so that cutting the client finds this connection. Whether that is news.
    pub(crate) fn note_client(&self, client: &ClientId) -> bool {
        let mut clients = self.clients.borrow_mut();
        let is_new = clients.len() < MAX_CLIENTS_NOTED && !clients.contains(client);
        if is_new {
            clients.push(client.clone());
        }
        is_new
    }

    /// What upstreams are told of this connection.
    pub(crate) fn forwarded(&self, host: &str) -> Rc<Forwarded> {
        let mut kept = self.forwarded.borrow_mut();
        match kept.as_ref() {
            Some(forwarded) if forwarded.is_for(host) => forwarded.clone(),
            _ => kept.insert(Rc::new(Forwarded::new(&self.peer, self.tls, host))).clone(),
        }
    }

    /// Lets no further request in once those in flight are answered.
    pub(crate) fn finish(&self) {
        if self.order.get() == Order::None {
            self.order.set(Order::Finish);
            self.wake();
        }
    }

    /// Whether answers should say that the connection ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.order.get() != Order::None || self.cut_at.get().is_some()
    }

    /// The peer took a request back before it was answered (rule G15; CVE-2023-44487). More than `limit` of them within
    /// a second cut the connection.
    pub(crate) fn note_reset(&self, limit: u32) {
        if self.over.get() {
            return;
        }
        let now = Instant::now();
        let (since, count) = match self.resets.get() {
            Some((since, count)) if now - since < Duration::from_secs(1) => (since, count + 1),
            _ => (now, 1),
        };
        self.resets.set(Some((since, count)));
        if count > limit && !self.reset_too_often.replace(true) {
            tracing::warn!(
                "client.address" = %self.peer.address().ip().to_canonical(),
                "countersign.certificate" = self.peer.certificate().map(|it| it.serial().short()),
                "an HTTP/2 connection is cut: too many requests were taken back"
            );
            self.cut();
        }
    }

    fn cut(&self) {
        if self.cut_at.get().is_none() {
            self.cut_at.set(Some(Instant::now() + LAST_WORDS));
            self.wake();
        }
    }

    /// A request is over. When it was the last one, the time until the end begins.
    pub(crate) fn answered(&self, at: Instant) {
        self.exchange.answered(at);
        if self.http2 && self.exchange.in_flight() == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn matches(&self, cut: &Cut) -> bool {
        match cut {
            Cut::Certificate { issuer_key_hash, serial } => {
                self.peer.certificate().is_some_and(|certificate| {
                    certificate.issuer_key_hash() == issuer_key_hash && certificate.serial() == serial
                })
            }
            Cut::Client(client) => {
                let clients = self.clients.borrow();
                clients.len() >= MAX_CLIENTS_NOTED || clients.contains(client)
            }
        }
    }
}

/// An HTTP connection of hyper's, whichever version.
pub(crate) trait Http {
    fn poll_http(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;
    fn begin_end(self: Pin<&mut Self>);
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// As the peer or we wanted it.
    InOrder,
    /// By an order from outside.
    Cut,
    /// The peer took back more requests than it may.
    Resets,
    /// The peer took nothing of an answer.
    AnswerStalled,
    /// The peer did not take part in the end.
    EndStalled,
    /// By an error on the wire.
    Failed(hyper::Error),
}

/// Runs a connection to its end: its own, or the one that was ordered. `times` bounds what HTTP/2 would wait for without
/// end; HTTP/1.1 has the guard for that.
pub(crate) async fn run(http: impl Http, connection: &Connection, times: Option<&GuardTimes>) -> Ended {
    let mut http = std::pin::pin!(http);
    let mut cut_timer = Timer::default();
    let mut patience = times.map(Patience::new);
    let ended = std::future::poll_fn(|cx| {
        if connection.order.get() == Order::Finish {
            connection.order.set(Order::Finishing);
            http.as_mut().begin_end();
        }
        if let Some(at) = connection.cut_at.get()
            && cut_timer.poll_until(at, cx).is_ready()
        {
            return Poll::Ready(if connection.reset_too_often.get() { Ended::Resets } else { Ended::Cut });
        }
        if let Poll::Ready(result) = http.as_mut().poll_http(cx) {
            return Poll::Ready(result.map_or_else(Ended::Failed, |()| Ended::InOrder));
        }
        if connection.order.get() == Order::Finish {
            cx.waker().wake_by_ref(); // ordered by the request just answered
        }
        {
            let mut waker = connection.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        patience.as_mut().map_or(Poll::Pending, |patience| patience.poll_over(connection, cx))
    })
    .await;
    connection.over.set(true);
    ended
}

/// The open connections of one worker.
#[derive(Default)]
pub(crate) struct Register {
    open: RefCell<HashMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
    per_client: RefCell<HashMap<ClientId, usize>>,
    emptied: tokio::sync::Notify,
}

/// Keeps a connection registered until dropped.
pub(crate) struct Registered {
    register: Rc<Register>,
    id: u64,
    client: Option<ClientId>,
}

impl Register {
    /// Registers a connection. `client` is whose certificate it presented.
    pub(crate) fn add(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        client: Option<ClientId>,
        limit: usize,
    ) -> Registered {
        if let Some(client) = &client {
            connection.note_client(client);
            let mut counts = self.per_client.borrow_mut();
            let count = counts.entry(client.clone()).or_default();
            *count += 1;
            connection.over_limit.set(*count > limit);
        }
        let id = self.next.get();
        self.next.set(id + 1);
        self.open.borrow_mut().insert(id, connection.clone());
        Registered { register: self.clone(), id, client }
    }

    /// Cuts the connections that `cut` means, and says how many. A walk over all of them: it is done once for each
    /// revocation, and keeps every request free of more than one register.
    pub(crate) fn cut(&self, cut: &Cut) -> usize {
        let open = self.open.borrow();
        open.values().filter(|connection| connection.matches(cut)).map(|connection| connection.cut()).count()
    }

    /// Asks every connection to finish.
    pub(crate) fn finish_all(&self) {
        self.open.borrow().values().for_each(|connection| connection.finish());
    }

    /// Waits until no connection is open.
    pub(crate) async fn empty(&self) {
        while !self.open.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.register.open.borrow_mut();
        open.remove(&self.id);
        if open.is_empty() {
            self.register.emptied.notify_one();
        }
        if let Some(client) = &self.client {
            let mut counts = self.register.per_client.borrow_mut();
            if let Some(count) = counts.get_mut(client) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g14_a_connection_of_more_clients_than_are_noted_is_cut_with_each_of_them() {
        let peer = Peer::new(([192, 0, 2, 1], 1).into(), None);
        let connection = Connection::new(peer, None, None, true, true);
        let client = |n: usize| -> ClientId { format!("client-{n}").parse().unwrap() };
        for n in 0..MAX_CLIENTS_NOTED - 1 {
            assert!(connection.note_client(&client(n)));
        }
        assert!(!connection.note_client(&client(0)));
        assert!(connection.matches(&Cut::Client(client(0))));
        assert!(!connection.matches(&Cut::Client(client(100))));
        for n in [99, 100] {
            connection.note_client(&client(n));
        }
        assert!(connection.matches(&Cut::Client(client(100))));
    }

    struct Ended;

    impl Http for Ended {
        fn poll_http(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<hyper::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn begin_end(self: Pin<&mut Self>) {}
    }

    #[tokio::test]
    async fn rule_g15_requests_that_end_with_their_connection_were_not_taken_back() {
        let connection = Connection::new(Peer::new(([192, 0, 2, 1], 1).into(), None), None, None, true, true);
        connection.note_reset(1);
        run(Ended, &connection, None).await;
        (0..100).for_each(|_| connection.note_reset(1));
        assert!(!connection.reset_too_often.get());
    }
}
