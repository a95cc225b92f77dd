//! Who makes room when every connection is taken (rule G20): the oldest of those who have not said who they are. First one
//! that waits for nothing; else one whose request is being answered, because a body that trickles would hold its place.
//!
//! A connection is a stranger's until it presents a certificate of a client or makes a call that is permitted, and stays
//! one when the client has its share of those that make no room. An honest caller is one for milliseconds; the oldest
//! stranger of a flood is part of the flood.

use crate::guard::Exchange;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// How many are looked at for one that waits for nothing: a walk over all would cost more than the connection is worth.
const LOOKS: usize = 64;

/// The strangers' connections of one worker, by their age.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    by_age: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
}

#[derive(Debug, Default)]
struct Entry {
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
        self.by_age.borrow_mut().insert(id, Entry::default());
        Stranger { strangers: self.clone(), id }
    }

    /// The task that serves the connection with this number.
    pub(crate) fn serves(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.by_age.borrow().get(&id) {
            let _ = entry.task.set(task); // told once
        }
    }

    /// Ends the oldest connection that waits for nothing, else the oldest of all. Its descriptor is free once its task has
    /// been dropped.
    pub(crate) fn make_room(&self) -> bool {
        let mut by_age = self.by_age.borrow_mut();
        let is_idle = |entry: &Entry| entry.exchange.get().is_none_or(|exchange| exchange.in_flight() == 0);
        let mut oldest = by_age.iter().filter(|(_, entry)| entry.task.get().is_some()).take(LOOKS);
        let first = oldest.clone().next();
        let chosen = oldest.find(|(_, entry)| is_idle(entry)).or(first).map(|(id, _)| *id);
        let entry = chosen.and_then(|id| by_age.remove(&id));
        entry.and_then(|entry| entry.task.into_inner()).map(|task| task.abort()).is_some()
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

    #[tokio::test]
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
}
