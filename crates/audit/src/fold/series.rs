//! The series of one class: what had its own record in this second, and what is counted while it is folded.

use super::window;
use countersign_model::audit::{Actor, AuditEvent};
use countersign_model::{ClientId, ReasonCode, Reference, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of counts of registered clients in shared classes, over all of them. A caller who knows more names than
/// this, and tries them all, is counted without them.
pub(super) const NAMED: usize = 4096;

/// One class: how many had their own record in this second, and the counts while it is folded.
pub(super) struct Series {
    pub(super) window_start: Timestamp,
    pub(super) in_window: u32,
    pub(super) open: Option<Open>,
}

pub(super) struct Open {
    pub(super) reference: Reference,
    pub(super) since: Timestamp,
    /// As many as there are reasons behind one public code, times the actors that proved who they are: few.
    pub(super) counts: Vec<Count>,
    /// In a class that is shared by names: those of registered clients.
    pub(super) named: HashMap<(ClientId, ReasonCode, Actor), Count>,
}

/// Refusals of a series that are equal for the operator too.
pub(super) struct Count {
    pub(super) reason: ReasonCode,
    pub(super) actor: Actor,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
}

impl Open {
    pub(super) fn new(reference: Reference, since: Timestamp) -> Self {
        Self { reference, since, counts: Vec::new(), named: HashMap::new() }
    }

    pub(super) fn count(&mut self, at: Timestamp, reason: ReasonCode, actor: &Actor) {
        match self.counts.iter_mut().find(|count| count.reason == reason && count.actor == *actor) {
            Some(count) => count.add(at),
            None => self.counts.push(Count::first(at, reason, actor)),
        }
    }

    /// Counts for a registered client, unless there are too many such counts already.
    pub(super) fn count_named(
        &mut self,
        event: &AuditEvent,
        reason: ReasonCode,
        client: &ClientId,
        all: &AtomicUsize,
    ) -> bool {
        let key = (client.clone(), reason, event.actor.clone());
        if let Some(count) = self.named.get_mut(&key) {
            count.add(event.at);
            return true;
        }
        if all.fetch_add(1, Ordering::Relaxed) >= NAMED {
            all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.named.insert(key, Count::first(event.at, reason, &event.actor));
        true
    }
}

impl Count {
    pub(super) fn first(at: Timestamp, reason: ReasonCode, actor: &Actor) -> Self {
        Self { reason, actor: actor.clone(), first: at, last: at, count: 1 }
    }

    fn add(&mut self, at: Timestamp) {
        self.count += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }
}

impl Series {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { window_start: now, in_window: 0, open: None }
    }

    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.open.is_none() && self.is_over(now)
    }

    /// Whether what happens at `at` is not of the window: a late refusal is, and one by a clock that was set back is not.
    pub(super) fn is_over(&self, at: Timestamp) -> bool {
        window::is_over(self.window_start, at)
    }
}
