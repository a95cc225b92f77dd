//! The answers that an HTTP/2 connection is sending, and how long its peer has taken nothing of each (rule G15).
//!
//! On HTTP/2 the peer grants every stream its window. One that grants none, or a single byte, and answers pings would
//! keep streams, their buffers and their upstream connections for ever (the class of CVE-2019-9517). What h2 holds of an
//! answer cannot be asked for, so each piece of a body carries a handle: h2 advances it when it writes and drops it when
//! it is through.

use crate::guard::stall::MIN_PROGRESS;
use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The answers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Since when the peer is to take something; `None` while we have nothing to give, and in a free slot.
    slots: RefCell<Vec<Option<Instant>>>,
    free: RefCell<Vec<usize>>,
}

impl Answers {
    /// When the first of the answers that are waiting for the peer will have waited for `patience`.
    pub(crate) fn deadline(&self, patience: Duration) -> Option<Instant> {
        self.slots.borrow().iter().flatten().min().map(|since| *since + patience)
    }

    /// Whether any answer is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.borrow().len() == self.free.borrow().len()
    }

    fn begin(&self) -> usize {
        let now = Some(Instant::now());
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = self.free.borrow_mut().pop() {
            slots[slot] = now;
            return slot;
        }
        slots.push(now);
        slots.len() - 1
    }

    fn is_ours(&self, slot: usize) -> bool {
        self.slots.borrow()[slot].is_none()
    }

    fn set(&self, slot: usize, since: Option<Instant>) {
        self.slots.borrow_mut()[slot] = since;
    }
}

/// One answer on its way: held by its body and by every piece of it that is not written.
pub(crate) struct Answer {
    answers: Rc<Answers>,
    slot: usize,
    /// How much the peer has taken since it is its turn.
    taken: Cell<usize>,
}

impl Answer {
    /// An answer that begins now, one of the `answers` of its connection.
    pub(crate) fn begin(answers: Rc<Answers>) -> Rc<Self> {
        let slot = answers.begin();
        Rc::new(Self { answers, slot, taken: Cell::new(0) })
    }

    /// It is the peer's turn, from now on.
    pub(crate) fn peers_turn(&self) {
        if self.answers.is_ours(self.slot) {
            self.answers.set(self.slot, Some(Instant::now()));
        }
    }

    /// The peer took `bytes`. Its time starts again when it has taken [`MIN_PROGRESS`] together.
    fn taken(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes);
        if self.taken.get() >= MIN_PROGRESS {
            self.taken.set(0);
            self.answers.set(self.slot, Some(Instant::now()));
        }
    }

    /// There is nothing to send yet: asked for more, h2 has room for it.
    pub(crate) fn our_turn(&self) {
        self.taken.set(0);
        self.answers.set(self.slot, None);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.answers.set(self.slot, None);
        self.answers.free.borrow_mut().push(self.slot);
    }
}

/// A piece of an answer's body.
pub(crate) struct Piece {
    bytes: Bytes,
    answer: Option<Rc<Answer>>,
}

impl Piece {
    /// A piece; on HTTP/2 of which answer.
    pub(crate) fn new(bytes: Bytes, answer: Option<&Rc<Answer>>) -> Self {
        Self { bytes, answer: answer.cloned() }
    }

    fn taken(&self, bytes: usize) {
        if let Some(answer) = &self.answer {
            answer.taken(bytes);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.taken(count);
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        let taken = self.bytes.split_to(count); // no copy, as `Bytes` itself has it
        self.taken(count);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn rule_g15_an_answer_moves_on_when_enough_of_it_was_taken() {
        let answers = Rc::<Answers>::default();
        let answer = Answer::begin(answers.clone());
        let waited = || answers.deadline(PATIENCE).map(|deadline| deadline - Instant::now());
        let mut piece = Piece::new(Bytes::from(vec![0; 2 * MIN_PROGRESS]), Some(&answer));
        tokio::time::advance(Duration::from_secs(10)).await;
        piece.advance(1);
        answer.peers_turn(); // asked for more, and there is more
        assert_eq!(waited(), Some(Duration::from_secs(20)), "a byte is no progress");
        piece.advance(MIN_PROGRESS - 1);
        assert_eq!(waited(), Some(PATIENCE), "enough together");
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(piece.copy_to_bytes(MIN_PROGRESS));
        assert_eq!(waited(), Some(PATIENCE));
        answer.our_turn();
        assert_eq!(waited(), None, "nothing to take");
        answer.peers_turn();
        assert_eq!(waited(), Some(PATIENCE));
    }
}
