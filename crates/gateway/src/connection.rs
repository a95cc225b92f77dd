//! One open connection: who is at the other end, what its parts tell each other, and what was ordered of it (rule G14;
//! design, decision 20).
//!
//! A connection whose certificate or client was revoked still gets one thing: the next request on it, within a moment,
//! is answered with 401. Then its task is dropped, running streams included: hyper's graceful shutdown alone would let a
//! streaming answer go on for ever (measured).

use crate::answers::Answers;
use crate::body::Bodies;
use crate::forwarded::Forwarded;
use crate::guard::Exchange;
use crate::load::{Certified, ClientLoad, Known, LocalLoad};
use crate::strangers::Stranger;
use countersign_model::{ClientId, CredentialId, IssuerId, KeyId, Serial};
use countersign_policy::{ClientEntry, Denial, Peer};
use countersign_token::TokenEpoch;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// Whose connections to cut.
#[derive(Debug, Clone)]
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
    /// Those that presented a certificate of this client or made a call as it that is not good any more: by a credential
    /// that was revoked, or by a token that was ended.
    Ended(Arc<ClientEntry>),
    /// Those that made a call with a token that this key signed.
    TokenKey(KeyId),
}

/// Between the order to cut and the drop: time for one more request to be told why. Well under the second of rule G14.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A client may speak through one connection, with one credential at a time; a front proxy's holds a few. A connection of
/// more than these may be anybody's, and is cut with each of them.
const MAX_CALLERS_NOTED: usize = 16;

/// A key signs for weeks. A connection that has seen more of them is cut with each.
const MAX_KEYS_NOTED: usize = 4;

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
    pub(crate) answers: Rc<Answers>,
    /// The bodies of requests that are on their way, on HTTP/2.
    pub(crate) bodies: Arc<Bodies>,
    callers: RefCell<Vec<Caller>>,
    /// The keys of the tokens that it has brought.
    keys: RefCell<Vec<KeyId>>,
    /// Until it is known whose it is.
    stranger: Cell<Option<Stranger>>,
    known: Cell<Option<Known>>,
    /// While the certificate that it presented is good.
    certified: Cell<Option<Certified>>,
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

/// Who has called and by which proof, and where its requests are counted.
struct Caller {
    client: ClientId,
    /// What the call stood on, or what the certificate of the connection matched.
    proof: Proof,
    load: Rc<LocalLoad>,
}

/// What ends with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) credential: CredentialId,
    /// Of its token, if the client called with one.
    pub(crate) epoch: Option<TokenEpoch>,
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
            answers: Rc::default(),
            bodies: Arc::default(),
            callers: RefCell::default(),
            keys: RefCell::default(),
            stranger: Cell::new(None),
            known: Cell::new(None),
            certified: Cell::new(None),
            forwarded: RefCell::default(),
            resets: Cell::new(None),
            reset_too_often: Cell::new(false),
            over: Cell::new(false),
            order: Cell::new(Order::None),
            cut_at: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// A connection that can be evicted for a newcomer until its client is identified (rule G20).
    pub(crate) fn of_stranger(self, stranger: Stranger) -> Self {
        stranger.speaks(&self.exchange);
        self.stranger.set(Some(stranger));
        self
    }

    /// The client is identified. At most `limit` connections of a client are exempt from eviction.
    fn is_of(&self, load: &Rc<LocalLoad>, limit: usize) {
        if self.cut_at.get().is_none()
            && let Some(stranger) = self.stranger.take()
        {
            match Known::begin(load, limit) {
                Some(known) => self.known.set(Some(known)),
                None => self.stranger.set(Some(stranger)),
            }
        }
    }

    /// The counters of a client: those that were noted with it, or what `find` gives.
    pub(crate) fn load_of(&self, client: &ClientId, find: impl FnOnce() -> Arc<ClientLoad>) -> Rc<LocalLoad> {
        let callers = self.callers.borrow();
        let noted = callers.iter().find(|caller| caller.client == *client);
        noted.map_or_else(|| Rc::new(LocalLoad::new(find())), |caller| caller.load.clone())
    }

    /// Notes whose certificate this is, so that cutting the client or the credential finds this connection. A client
    /// may have `limit` of them, of which at most `known` are exempt from eviction.
    ///
    /// Only for a certificate that is good now: a thief of a revoked certificate takes nothing of its client's share.
    pub(crate) fn note_certificate(
        &self,
        client: &ClientId,
        credential: CredentialId,
        load: &Rc<LocalLoad>,
        limit: usize,
        known: usize,
    ) {
        let (certified, within) = Certified::begin(load, limit);
        self.certified.set(Some(certified));
        self.over_limit.set(!within);
        self.is_of(load, known);
        let proof = Proof { credential, epoch: None };
        self.callers.borrow_mut().push(Caller { client: client.clone(), proof, load: load.clone() });
    }

    /// Notes who calls and by what, so that cutting the client, the credential or the token key finds this connection.
    /// Returns whether the client is new here. At most `known` connections of a client are exempt from eviction.
    pub(crate) fn note_call(
        &self,
        client: &ClientId,
        proof: Proof,
        key: Option<&KeyId>,
        load: &Rc<LocalLoad>,
        known: usize,
    ) -> bool {
        if let Some(key) = key {
            let mut keys = self.keys.borrow_mut();
            if keys.len() < MAX_KEYS_NOTED && !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        // A client that had its share of those that make no room may have closed one since.
        self.is_of(load, known);
        let mut callers = self.callers.borrow_mut();
        if callers.len() >= MAX_CALLERS_NOTED
            || callers.iter().any(|caller| caller.proof == proof && caller.client == *client)
        {
            return false;
        }
        let is_new = callers.iter().all(|caller| caller.client != *client);
        callers.push(Caller { client: client.clone(), proof, load: load.clone() });
        is_new
    }

    /// The host that a request on this connection asks for, and what upstreams are told of it.
    ///
    /// # Errors
    /// `request_malformed` if `authority` is not a valid host.
    pub(crate) fn forwarded(&self, authority: &str) -> Result<Rc<Forwarded>, Denial> {
        let mut kept = self.forwarded.borrow_mut();
        match kept.as_ref() {
            Some(forwarded) if forwarded.is_for(authority) => Ok(forwarded.clone()),
            _ => Ok(kept.insert(Rc::new(Forwarded::new(&self.peer, self.tls, authority)?)).clone()),
        }
    }

    /// Lets no further request in once those in flight are answered.
    pub(crate) fn finish(&self) {
        self.exchange.hurry();
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

    /// Lets it be dropped in a moment, whatever is in flight. From now on it counts for no client.
    pub(crate) fn cut(&self) {
        self.certified.take();
        self.known.take();
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

    /// Whether it was ordered to finish and nobody has begun to; once.
    pub(crate) fn begins_to_finish(&self) -> bool {
        let ordered = self.is_to_finish();
        if ordered {
            self.order.set(Order::Finishing);
        }
        ordered
    }

    /// Whether it was ordered to finish and nobody has begun to.
    pub(crate) fn is_to_finish(&self) -> bool {
        self.order.get() == Order::Finish
    }

    /// When it is to be dropped, if it was cut.
    pub(crate) fn cut_at(&self) -> Option<Instant> {
        self.cut_at.get()
    }

    /// Whether the peer took back more requests than it may.
    pub(crate) fn was_reset_too_often(&self) -> bool {
        self.reset_too_often.get()
    }

    /// Whom to wake with an order.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Its task is at its end.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether one of its callers is meant. True as well if it had more callers than are noted.
    fn may_be(&self, meant: impl Fn(&Caller) -> bool) -> bool {
        let callers = self.callers.borrow();
        callers.len() >= MAX_CALLERS_NOTED || callers.iter().any(meant)
    }

    /// Whether `cut` means it.
    pub(crate) fn matches(&self, cut: &Cut) -> bool {
        match cut {
            Cut::Certificate { issuer_key_hash, serial } => {
                self.peer.certificate().is_some_and(|certificate| {
                    certificate.issuer_key_hash() == issuer_key_hash && certificate.serial() == serial
                })
            }
            Cut::Client(client) => self.may_be(|caller| caller.client == *client),
            Cut::Ended(entry) => self.may_be(|caller| {
                let ended = |proof: Proof| entry.ended(proof.credential, proof.epoch).is_some();
                caller.client == entry.client.id && ended(caller.proof)
            }),
            Cut::TokenKey(key) => {
                let keys = self.keys.borrow();
                keys.len() >= MAX_KEYS_NOTED || keys.contains(key)
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strangers::Strangers;

    #[test]
    fn rule_g14_a_connection_of_more_callers_than_are_noted_is_cut_with_each_of_them() {
        let peer = Peer::new(([192, 0, 2, 1], 1).into(), None);
        let connection = Connection::new(peer, None, None, true, true);
        let load = Rc::default();
        let client = |n: usize| -> ClientId { format!("client-{n}").parse().unwrap() };
        let key = |n: usize| KeyId(format!("key-{n}"));
        let proof = |n: u32| Proof {
            credential: "01JZ0000000000000000000000".parse().unwrap(),
            epoch: Some(TokenEpoch { client: n, credential: 0 }),
        };
        let call = |n: usize, k: usize| connection.note_call(&client(n), proof(0), Some(&key(k)), &load, 1);
        for n in 0..MAX_CALLERS_NOTED - 2 {
            assert!(call(n, 0));
        }
        assert!(!call(0, 0));
        assert!(!connection.note_call(&client(0), proof(1), None, &load, 1), "known by another token");
        assert!(connection.matches(&Cut::Client(client(0))));
        assert!(!connection.matches(&Cut::Client(client(100))));
        for n in [99, 100] {
            call(n, 0);
        }
        assert!(connection.matches(&Cut::Client(client(100))));
        assert!(connection.matches(&Cut::TokenKey(key(0))) && !connection.matches(&Cut::TokenKey(key(9))));
        for k in 1..=MAX_KEYS_NOTED {
            call(0, k);
        }
        assert!(connection.matches(&Cut::TokenKey(key(9))));
    }

    #[test]
    fn rule_g20_a_connection_beyond_the_share_of_its_client_is_asked_again_when_there_is_room() {
        let strangers = Rc::new(Strangers::default());
        let connection = || {
            let peer = Peer::new(([192, 0, 2, 1], 1).into(), None);
            Connection::new(peer, None, None, true, true).of_stranger(strangers.enter())
        };
        let load = Rc::default();
        let client: ClientId = "acme-pay".parse().unwrap();
        let proof = Proof { credential: "01JZ0000000000000000000000".parse().unwrap(), epoch: None };
        let call = |connection: &Connection| connection.note_call(&client, proof, None, &load, 1);
        let is_stranger = |connection: &Connection| {
            let stranger = connection.stranger.take();
            let is_some = stranger.is_some();
            connection.stranger.set(stranger);
            is_some
        };
        let (first, second) = (connection(), connection());
        assert!(call(&first) && !is_stranger(&first));
        assert!(call(&second) && is_stranger(&second), "the client has its share");
        first.cut();
        assert!(!call(&second), "it is no news whose it is");
        assert!(!is_stranger(&second));
        call(&first);
        assert!(
            second.known.take().is_some() && first.known.take().is_none(),
            "who is cut counts for nobody"
        );
    }

    #[test]
    fn rule_t5_each_request_is_judged_by_the_host_that_it_names() {
        let peer = Peer::new(([192, 0, 2, 1], 1).into(), None);
        let connection = Connection::new(peer, None, None, true, true);
        let host = |authority| connection.forwarded(authority).map(|asked| asked.host().to_owned());
        assert_eq!(host("API.example:8443").unwrap(), "api.example");
        assert_eq!(host("API.example:8443").unwrap(), "api.example");
        assert_eq!(host("other.example").unwrap(), "other.example");
        assert!(host("user@api.example").is_err());
        assert_eq!(host("api.example").unwrap(), "api.example");
    }
}
