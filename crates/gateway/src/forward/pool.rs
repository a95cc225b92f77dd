//! Connections to upstreams, kept by each worker for itself: no lock, no channel between workers.
//!
//! A connection has no task of its own. Whoever uses it polls it along (design, section 7: the upstream side is where the
//! time goes; a task costs two wake-ups for each request). Whether the upstream has closed an unused one shows when it is
//! used again: the first look is at what came in, and a request that was not written by then is given back. What must not
//! be used again is told by [`Conduct`], and by the kind of the last answer.

use super::bell::Bell;
use super::connect::{ConnectError, connect};
use super::upload::Upload;
use super::wire::{Conduct, Wire};
use crate::descriptors::{Descriptors, Limit, Taken};
use crate::guard::timer::Timer;
use crate::load::{Load, LocalLoad, NoTurn, UpstreamTurn};
use crate::settings::{Settings, Upstream};
use crate::socket::Socket;
use crate::worker::Shared;
use bytes::Bytes;
use countersign_model::ClientId;
use foldhash::fast::RandomState;
use futures_util::task::noop_waker_ref;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// The pools of one worker.
pub(crate) struct Pools {
    by_upstream: RefCell<HashMap<String, Rc<Pool>, RandomState>>,
    shared: Arc<Shared>,
    descriptors: Descriptors,
    kept: Rc<Kept>,
}

/// How many unused connections the pools of one worker keep together: what they keep no other worker can use.
struct Kept {
    now: Cell<usize>,
    limit: usize,
}

/// The connections to one upstream.
pub(crate) struct Pool {
    upstream: Arc<Upstream>,
    idle: RefCell<VecDeque<Idle>>,
    kept: Rc<Kept>,
    /// Its requests in flight, over all workers, and how many there may be.
    requests: Arc<Load>,
    max_requests: Limit,
    /// How many descriptors there may be of connections to all upstreams, over all workers.
    max_open: usize,
    shared: Arc<Shared>,
}

/// One request that is being forwarded, until dropped.
pub(super) struct Turn {
    pool: Rc<Pool>,
    _counted: UpstreamTurn,
}

struct Idle {
    link: Box<Link>,
    since: Instant,
    _kept: KeptOne,
}

/// Counts an unused connection until dropped.
struct KeptOne(Rc<Kept>);

/// One connection: what sends on it, and what moves it. Boxed from the start: it moves with every request.
pub(super) struct Link {
    pub(super) sender: SendRequest<Upload>,
    /// Dropped when it has ended: a request that it still held is given back then.
    connection: Option<Connection<TokioIo<Wire>, Upload>>,
    pub(super) timer: Timer,
    pub(super) conduct: Rc<Conduct>,
    bell: Arc<Bell>,
    waker: Waker,
    _open: Taken,
}

impl Pools {
    /// No connection yet.
    pub(crate) fn new(settings: &Settings, shared: &Arc<Shared>) -> Self {
        let limit = settings.descriptors.idle_of_worker(settings.workers);
        Self {
            by_upstream: RefCell::default(),
            shared: shared.clone(),
            descriptors: settings.descriptors,
            kept: Rc::new(Kept { now: Cell::new(0), limit }),
        }
    }

    /// The pool of an upstream. When a reload changed the upstream, its connections begin anew.
    pub(crate) fn pool(&self, upstream: &Arc<Upstream>) -> Rc<Pool> {
        let mut pools = self.by_upstream.borrow_mut();
        match pools.get(&upstream.name) {
            Some(pool) if Arc::ptr_eq(&pool.upstream, upstream) || pool.upstream == *upstream => pool.clone(),
            _ => {
                let pool = Rc::new(Pool {
                    upstream: upstream.clone(),
                    idle: RefCell::default(),
                    kept: self.kept.clone(),
                    requests: self.shared.loads.upstream(&upstream.name),
                    max_requests: self.descriptors.requests_of_upstream(upstream.max_requests),
                    max_open: self.descriptors.upstreams,
                    shared: self.shared.clone(),
                });
                pools.insert(upstream.name.clone(), pool.clone());
                pool
            }
        }
    }

    /// Drops what was unused for too long or closed by its upstream. Called every few seconds.
    pub(crate) fn sweep(&self) {
        for pool in self.by_upstream.borrow().values() {
            pool.idle.borrow_mut().retain_mut(|idle| {
                idle.since.elapsed() < pool.upstream.idle_timeout && idle.link.is_usable()
            });
        }
    }
}

impl Pools {
    /// Closes an unused connection, to any upstream, so that another one can be opened.
    pub(super) fn make_room(&self) -> bool {
        let closed = |idle: Idle| idle.link.conduct.give_up();
        self.by_upstream
            .borrow()
            .values()
            .any(|pool| pool.idle.borrow_mut().pop_front().map(closed).is_some())
    }
}

impl Pool {
    /// Counts a request of `client`, whose counters on this connection are `load`.
    pub(super) fn begin(self: &Rc<Self>, client: &ClientId, load: &LocalLoad) -> Result<Turn, NoTurn> {
        let find = || self.shared.loads.client_on_upstream(client, &self.upstream.name);
        let load = load.on_upstream(&self.requests, find);
        UpstreamTurn::begin(&load, self.max_requests.value)
            .map(|counted| Turn { pool: self.clone(), _counted: counted })
    }

    /// How many requests it may have in flight.
    pub(super) fn max_requests(&self) -> Limit {
        self.max_requests
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// A connection that was used before and is still open.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        // The one put away last: the others may then grow old and go.
        while let Some(idle) = self.idle.borrow_mut().pop_back() {
            if idle.since.elapsed() < self.upstream.idle_timeout && idle.link.sender.is_ready() {
                idle.link.conduct.begin();
                return Some(idle.link);
            }
        }
        None
    }

    /// Keeps a connection whose answer is complete; drops one that is not fit for another request. `sent` says whether the
    /// whole request was handed on.
    pub(super) fn put(&self, mut link: Box<Link>, sent: bool) {
        link.conduct.park(sent);
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.upstream.max_idle && self.kept.has_room() && link.is_usable() {
            link.conduct.keep();
            idle.push_back(Idle { link, since: Instant::now(), _kept: KeptOne::new(&self.kept) });
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Box<Link>, ConnectError> {
        let open = self.shared.upstreams.take(self.max_open).ok_or(ConnectError::Full)?;
        let stream = connect(&self.upstream, &self.shared.names).await?;
        let stream = Socket::new(stream).map_err(ConnectError::Io)?;
        let conduct = Conduct::new();
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake(TokioIo::new(Wire::new(stream, conduct.clone())))
            .await
            .map_err(ConnectError::Http)?;
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(bell.clone());
        Ok(Box::new(Link {
            sender,
            connection: Some(connection),
            timer: Timer::default(),
            conduct,
            bell,
            waker,
            _open: open,
        }))
    }
}

impl Kept {
    fn has_room(&self) -> bool {
        self.now.get() < self.limit
    }
}

impl KeptOne {
    fn new(kept: &Rc<Kept>) -> Self {
        kept.now.set(kept.now.get() + 1);
        Self(kept.clone())
    }
}

impl Drop for KeptOne {
    fn drop(&mut self) {
        self.0.now.set(self.0.now.get() - 1);
    }
}

impl Turn {
    /// The pool that it goes through.
    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }
}

impl Link {
    /// Moves the connection on. Errors come out at the request or the body, so here they only end it.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        self.bell.calls(cx.waker());
        self.poll_connection();
    }

    /// The next piece of the answer that this connection brings.
    pub(super) fn poll_frame(
        &mut self,
        answer: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Only `drive` brings a piece, so there is nobody who would have to wake us for it.
        let take =
            |answer: &mut Incoming| Pin::new(answer).poll_frame(&mut Context::from_waker(noop_waker_ref()));
        match self.bell.muffled(|| take(answer)) {
            Poll::Pending => {
                self.drive(cx);
                self.bell.muffled(|| take(answer))
            }
            ready => ready,
        }
    }

    /// Whether another request may go over it. Nobody waits for an unused connection.
    fn is_usable(&mut self) -> bool {
        self.bell.calls_nobody();
        self.poll_connection();
        self.connection.is_some() && self.sender.is_ready() && self.conduct.is_in_order()
    }

    fn poll_connection(&mut self) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(&mut Context::from_waker(&self.waker)).is_ready()
        {
            self.connection = None;
        }
    }
}
