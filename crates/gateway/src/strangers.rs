//! Eviction when every connection is taken (rule G20): the oldest connection that has not identified its client is closed
//! for the new one. One that has waited for nothing for [`GRACE`] is preferred. Otherwise one with a request in flight is
//! closed, because a body that trickles would hold its place for ever. One that has just come, or was just answered, is
//! closed last: if a flood of requests that trickle holds all places, each newcomer would otherwise make room for the next.
//!
//! A connection is a stranger's until it presents a certificate of a client or makes a permitted call. It stays a stranger's
//! if the client has its share of exempt connections already. An honest caller is a stranger for milliseconds; the oldest
//! stranger of a flood is part of the flood.
//!
//! Operators are all strangers here: they say who they are to the admin API. A call of theirs may hold a secret that nobody
//! sees again, so a connection with a request in flight is never ended for them, nor one that was just opened or answered.

use crate::guard::Exchange;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long a connection is not idle after it was opened or answered: enough for a handshake over a slow line.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections are searched for an idle one. One with a request in flight is cut only if all of these are busy; the
/// search costs less than the handshake of the newcomer.
const LOOKS: usize = 1024;

/// The strangers' connections of one worker, by their age.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    by_age: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    /// Ends the connection.
    task: OnceCell<AbortHandle>,
    /// Once it speaks HTTP: whether a request is being answered.
    exchange: OnceCell<Rc<Exchange>>,
}

/// One connection among the strangers, until dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Rc<Strangers>,
    id: u64,
}

impl Strangers {
    /// Somebody comes in.
    pub(crate) fn enter(self: &Rc<Self>) -> Stranger {
        let id = self.next.get();
        self.next.set(id + 1);
        let entry = Entry { since: Instant::now(), task: OnceCell::new(), exchange: OnceCell::new() };
        self.by_age.borrow_mut().insert(id, entry);
        Stranger { strangers: self.clone(), id }
    }

    /// The task that serves the connection with this number.
    pub(crate) fn serves(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.by_age.borrow().get(&id) {
            let _ = entry.task.set(task); // told once
        }
    }

    /// Ends the oldest connection that is idle; or else the oldest with a request in flight that did not just come; or else
    /// the oldest of all. Its descriptor is free once its task has been dropped.
    pub(crate) fn make_room(&self) -> bool {
        let now = Instant::now();
        let is_idle = |entry: &Entry| {
            entry.idle_since().is_some_and(|since| now.saturating_duration_since(since) >= GRACE)
        };
        let is_busy = |entry: &Entry| {
            entry.idle_since().is_none() && now.saturating_duration_since(entry.since) >= GRACE
        };
        let chosen = {
            let by_age = self.by_age.borrow();
            let oldest = by_age.iter().filter(|(_, entry)| entry.task.get().is_some()).take(LOOKS);
            let find = |wanted: &dyn Fn(&Entry) -> bool| oldest.clone().find(|(_, entry)| wanted(entry));
            find(&is_idle).or_else(|| find(&is_busy)).or_else(|| find(&|_| true)).map(|(id, _)| *id)
        };
        self.end(chosen)
    }

    /// Ends the oldest connection that has waited for nothing for at least `rest`, if there is one.
    pub(crate) fn end_idle(&self, now: Instant, rest: Duration) -> bool {
        let rests = |entry: &Entry| entry.idle_since().is_some_and(|since| now.duration_since(since) >= rest);
        let chosen = {
            let by_age = self.by_age.borrow();
            let mut oldest = by_age.iter().filter(|(_, entry)| entry.task.get().is_some()).take(LOOKS);
            oldest.find(|(_, entry)| rests(entry)).map(|(id, _)| *id)
        };
        self.end(chosen)
    }

    fn end(&self, chosen: Option<u64>) -> bool {
        let entry = chosen.and_then(|id| self.by_age.borrow_mut().remove(&id));
        entry.and_then(|entry| entry.task.into_inner()).map(|task| task.abort()).is_some()
    }
}

impl Entry {
    /// Since when it waits for nothing; `None` while a request is being answered.
    fn idle_since(&self) -> Option<Instant> {
        match self.exchange.get() {
            Some(exchange) if exchange.in_flight() > 0 => None,
            Some(exchange) => Some(exchange.answered_at().unwrap_or(self.since)),
            None => Some(self.since),
        }
    }
}

impl Stranger {
    /// Among whom it is.
    pub(crate) fn strangers(&self) -> &Rc<Strangers> {
        &self.strangers
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// It speaks HTTP now.
    pub(crate) fn speaks(&self, exchange: &Rc<Exchange>) {
        if let Some(entry) = self.strangers.by_age.borrow().get(&self.id) {
            let _ = entry.exchange.set(exchange.clone()); // told once
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.by_age.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places are held by requests whose bodies trickle, and connections come that say nothing. Whoever comes between
    /// them has the time for its handshake.
    #[tokio::test(start_paused = true)]
    async fn rule_g20_a_newcomer_is_not_closed_for_the_next_while_trickling_requests_hold_the_places() {
        let strangers = Rc::new(Strangers::default());
        let enter = |is_busy: bool| {
            let stranger = strangers.enter();
            let task = tokio::spawn(std::future::pending::<()>());
            strangers.serves(stranger.id(), task.abort_handle());
            if is_busy {
                let exchange = Rc::<Exchange>::default();
                exchange.call();
                stranger.speaks(&exchange);
            }
            (stranger, task)
        };
        let trickling: Vec<_> = (0..60).map(|_| enter(true)).collect();
        tokio::time::advance(Duration::from_secs(10)).await;
        let mut mute = Vec::new();
        let mut come = async |count: usize| {
            for _ in 0..count {
                assert!(strangers.make_room());
                mute.push(enter(false));
                tokio::time::advance(Duration::from_millis(25)).await;
                tokio::task::yield_now().await;
            }
        };
        come(20).await;
        assert!(strangers.make_room());
        let (_honest, task) = enter(false);
        come(38).await; // 950 ms
        assert!(!task.is_finished(), "it is in its handshake");
        let closed = trickling.iter().filter(|(_, task)| task.is_finished()).count();
        assert!(closed >= 40, "those who trickle make room: {closed}");
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g20_the_oldest_stranger_that_waits_for_nothing_makes_room() {
        let strangers = Rc::new(Strangers::default());
        let task = || tokio::spawn(std::future::pending::<()>());
        let [busy, idle, newer] = [strangers.enter(), strangers.enter(), strangers.enter()];
        let tasks = [&busy, &idle, &newer].map(|stranger| {
            let task = task();
            strangers.serves(stranger.id(), task.abort_handle());
            task
        });
        let exchange = Rc::<Exchange>::default();
        exchange.call();
        busy.speaks(&exchange);
        idle.speaks(&Rc::default());
        tokio::time::advance(GRACE).await;
        assert!(strangers.make_room());
        let [busy_task, idle_task, newer_task] = tasks;
        assert!(idle_task.await.unwrap_err().is_cancelled());
        assert!(!busy_task.is_finished() && !newer_task.is_finished());
        drop(newer);
        assert!(strangers.make_room(), "the other one has said who it is");
        assert!(busy_task.await.unwrap_err().is_cancelled());
        assert!(!strangers.make_room(), "who has said who it is makes no room");
        drop((busy, idle));
        assert!(strangers.by_age.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g17_a_request_in_flight_or_just_answered_is_never_cut_for_an_operator() {
        const REST: Duration = Duration::from_millis(50);
        let strangers = Rc::new(Strangers::default());
        let [busy, answered, mute] = [strangers.enter(), strangers.enter(), strangers.enter()];
        let tasks = [&busy, &answered, &mute].map(|stranger| {
            let task = tokio::spawn(std::future::pending::<()>());
            strangers.serves(stranger.id(), task.abort_handle());
            task
        });
        let [of_busy, of_answered] = [Rc::<Exchange>::default(), Rc::<Exchange>::default()];
        of_busy.call();
        of_answered.call();
        busy.speaks(&of_busy);
        answered.speaks(&of_answered);
        assert!(!strangers.end_idle(Instant::now(), REST), "its request may be on the way");
        tokio::time::advance(REST).await;
        of_answered.answered(Instant::now());
        assert!(strangers.end_idle(Instant::now(), REST));
        assert!(!strangers.end_idle(Instant::now(), REST), "its answer may be on the way");
        let [busy_task, answered_task, mute_task] = tasks;
        assert!(mute_task.await.unwrap_err().is_cancelled());
        tokio::time::advance(REST).await;
        assert!(strangers.end_idle(Instant::now(), REST));
        assert!(answered_task.await.unwrap_err().is_cancelled());
        tokio::time::advance(REST * 1000).await;
        assert!(!strangers.end_idle(Instant::now(), REST));
        assert!(!busy_task.is_finished());
        assert!(strangers.make_room(), "of a caller it is, as the last resort");
    }
}
