//! The way from the data path to the writer's thread: bounded, in order, and never waited for by who puts in.

use crate::record::{Entry, Head, LossCause, Lost};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ReasonCode, Reference, Rng, Timestamp};
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What the writer answers to who waits for the disk: the head, or why not.
pub(crate) type Confirmation = Result<Head, String>;

/// What the writer is told.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all messages are records: boxing them would only allocate"
)]
pub(crate) enum Message {
    /// One event; nobody waits for it.
    Record(AuditEvent),
    /// Events whose caller waits until they, and everything before them, are on disk. May be none: then it is a flush.
    Append(Vec<AuditEvent>, oneshot::Sender<Confirmation>),
}

/// Everything that was in the queue.
pub(crate) struct Batch {
    pub(crate) messages: Vec<Message>,
    /// What the queue could not take.
    pub(crate) lost: Losses,
    /// The recorder is closed: this is the last batch.
    pub(crate) last: bool,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// So many events nobody waits for; those that somebody waits for are bounded by who waits.
    capacity: usize,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    records: usize,
    /// Somebody waits, or it becomes tight: the writer does not let more gather.
    urgent: bool,
    lost: Losses,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), capacity }
    }

    /// Puts in an event. When there is no room it is counted instead; false then.
    pub(crate) fn push(&self, event: AuditEvent) -> bool {
        let mut state = self.lock();
        if state.closed || state.records >= self.capacity {
            state.lost.count(&event.into(), LossCause::QueueFull);
            return false;
        }
        state.messages.push(Message::Record(event));
        state.records += 1;
        let tight = state.records == self.capacity.div_ceil(2);
        state.urgent |= tight;
        // Waking costs a system call: once for the first of a batch is enough.
        let wake = tight || state.messages.len() == 1;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Counts an event that is not to be written now.
    pub(crate) fn count_only(&self, event: AuditEvent) {
        self.lock().lost.count(&event.into(), LossCause::SpaceLow);
    }

    /// Puts in events that somebody waits for; false when the recorder is closed.
    pub(crate) fn push_durable(&self, events: Vec<AuditEvent>, reply: oneshot::Sender<Confirmation>) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.messages.push(Message::Append(events, reply));
        state.urgent = true;
        drop(state);
        self.wake.notify_one();
        true
    }

    /// No more is taken; the writer ends after what is there. `reply` hears when it is on disk.
    pub(crate) fn close(&self, reply: Option<oneshot::Sender<Confirmation>>) {
        let mut state = self.lock();
        if let Some(reply) = reply.filter(|_| !state.closed) {
            state.messages.push(Message::Append(Vec::new(), reply));
        }
        state.closed = true;
        drop(state);
        self.wake.notify_one();
    }

    /// The writer is gone: nothing is taken any more, and who waits hears that nothing is confirmed. How many events are
    /// lost with it.
    pub(crate) fn abandon(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        let messages = std::mem::take(&mut state.messages);
        drop(state);
        messages.iter().map(|message| u64::from(matches!(message, Message::Record(_)))).sum()
    }

    /// Waits for messages, then lets more gather for `gather` (one sync for all of them) unless it is urgent. Gives an
    /// empty batch after `idle`, so that the writer can look after what is due.
    pub(crate) fn take(&self, gather: Duration, idle: Duration) -> Batch {
        let mut state = self.wait(self.lock(), idle, |state| state.messages.is_empty());
        if !state.messages.is_empty() {
            state = self.wait(state, gather, |_| true);
        }
        let state = &mut *state;
        state.records = 0;
        state.urgent = false;
        Batch {
            messages: std::mem::take(&mut state.messages),
            lost: std::mem::take(&mut state.lost),
            last: state.closed,
        }
    }

    /// Waits while `condition` holds and nothing is urgent, at most `timeout`.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        timeout: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let start = Instant::now();
        while !state.urgent && !state.closed && condition(&state) {
            let Some(left) = timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                break;
            };
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of events that are not in the log. Bounded: all parts of the key are closed sets.
#[derive(Default)]
pub(crate) struct Losses(HashMap<(LossCause, AuditAction, Option<ReasonCode>), Tally>);

struct Tally {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Losses {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn any_by(&self, cause: LossCause) -> bool {
        self.0.keys().any(|(of, _, _)| *of == cause)
    }

    /// Counts what `entry` stands for.
    pub(crate) fn count(&mut self, entry: &Entry, cause: LossCause) {
        let (action, reason) = (entry.event.action, entry.event.reason);
        match (&entry.lost, &entry.folded) {
            // A count that could not be written goes back to where it came from.
            (Some(lost), _) => {
                let key = (lost.cause, lost.action.unwrap_or(action), lost.reason);
                self.add(key, lost.count, lost.first, lost.last);
            }
            (None, Some(folded)) => {
                self.add((cause, action, reason), folded.count, folded.first, folded.last)
            }
            (None, None) => self.add((cause, action, reason), 1, entry.event.at, entry.event.at),
        }
    }

    pub(crate) fn merge(&mut self, other: Losses) {
        for (key, tally) in other.0 {
            self.add(key, tally.count, tally.first, tally.last);
        }
    }

    fn add(
        &mut self,
        key: (LossCause, AuditAction, Option<ReasonCode>),
        count: u64,
        first: Timestamp,
        last: Timestamp,
    ) {
        let tally = self.0.entry(key).or_insert(Tally { count: 0, first, last });
        tally.count = tally.count.saturating_add(count);
        tally.first = tally.first.min(first);
        tally.last = tally.last.max(last);
    }

    /// The records that say so, and none left.
    pub(crate) fn drain(&mut self, now: Timestamp, rng: &dyn Rng) -> impl Iterator<Item = Entry> {
        self.0.drain().map(move |((cause, action, reason), Tally { count, first, last })| {
            let because = match cause {
                LossCause::QueueFull => "they came faster than they could be taken",
                LossCause::SpaceLow => "little space was left on the disk",
                LossCause::DiskFailed => "the disk was full or failed",
                LossCause::TailMissing => "the log was cut",
            };
            let detail = Some(format!("{count} events have no record: {because}"));
            let facts = Facts { detail, ..Facts::default() };
            let reference = Reference::generate(now, rng);
            let event = AuditEvent::done(reference, now, AuditAction::LogRepaired, Actor::System, facts);
            let lost = Lost { count, cause, action: Some(action), reason, first, last };
            Entry { lost: Some(lost), ..event.into() }
        })
    }
}
