//! How long an HTTP/2 connection is waited for (rule G15): for its first request, between requests, for its peer to take
//! the answers, and for its peer's part in the end.

use crate::connection::{Connection, Ended};
use crate::guard::GuardTimes;
use crate::guard::timer::Timer;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How long a peer may take for its part in the end when it has everything: it answers one ping. A restart waits for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// What an HTTP/2 connection may take its time for (rule G15). hyper and h2 bound none of it.
pub(crate) struct Patience<'a> {
    times: &'a GuardTimes,
    /// How many requests there were when the connection was last looked at.
    calls: u64,
    idle_since: Option<Instant>,
    ending_since: Option<Instant>,
    quiet_since: Option<Instant>,
    answers_until: Option<Instant>,
    timer: Timer,
    answers_timer: Timer,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(times: &'a GuardTimes) -> Self {
        Self {
            times,
            calls: 0,
            idle_since: None,
            ending_since: None,
            quiet_since: None,
            answers_until: None,
            timer: Timer::default(),
            answers_timer: Timer::default(),
        }
    }

    /// Ready when the connection is to be dropped. Ends an idle one in order first.
    pub(crate) fn poll_over(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.poll_answers(connection, cx).is_ready() {
            return Poll::Ready(Ended::AnswerStalled);
        }
        // A small answer begins and ends between two looks: then nothing was in flight at either.
        let calls = connection.exchange.calls();
        if connection.exchange.in_flight() > 0 || calls != self.calls {
            self.calls = calls;
            self.idle_since = None;
        }
        if connection.exchange.in_flight() > 0 {
            return Poll::Pending;
        }
        if !connection.is_ending() {
            // Before the first request nothing is known of the peer but that it can shake hands.
            let patience = if calls > 0 { self.times.idle } else { self.times.first.min(self.times.idle) };
            let since = *self.idle_since.get_or_insert_with(Instant::now);
            ready!(self.timer.poll_until(since + patience, cx));
            connection.finish();
        }
        // The end waits for the peer: for its preface, for its answer to a ping, for room to write. Counted from the first
        // moment that nothing was in flight, and not anew for requests that come later.
        let since = *self.ending_since.get_or_insert_with(Instant::now);
        let mut until = since + self.times.write_progress;
        if connection.answers.is_empty() {
            let quiet_since = *self.quiet_since.get_or_insert_with(Instant::now);
            until = until.min(quiet_since + FAREWELL);
        }
        self.timer.poll_until(until, cx).map(|()| Ended::EndStalled)
    }

    /// Ready when the peer has taken nothing of an answer for too long. Each answer counts for itself: one that moves
    /// does not shield those that do not.
    fn poll_answers(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        if connection.answers.is_empty() {
            return Poll::Pending;
        }
        loop {
            // A deadline that was looked up holds until it comes: answers move on, and new ones have later ones.
            let until = match self.answers_until {
                Some(until) => until,
                None => {
                    let now = Instant::now();
                    let deadline = connection.answers.deadline(self.times.write_progress);
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        return Poll::Ready(());
                    }
                    deadline.unwrap_or(now + self.times.write_progress)
                }
            };
            self.answers_until = Some(until);
            ready!(self.answers_timer.poll_until(until, cx));
            self.answers_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policy::Peer;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_connection_whose_answers_end_between_two_looks_is_not_idle() {
        let connection = Connection::new(Peer::new(([192, 0, 2, 1], 1).into(), None), None, None, true, true);
        let times = GuardTimes { idle: Duration::from_secs(10), ..GuardTimes::default() };
        let mut patience = Patience::new(&times);
        let mut look = async || {
            std::future::poll_fn(|cx| Poll::Ready(patience.poll_over(&connection, cx).is_ready())).await
        };
        for _ in 0..10 {
            connection.exchange.call();
            connection.exchange.answered(Instant::now());
            assert!(!look().await);
            tokio::time::advance(Duration::from_secs(6)).await;
            assert!(!look().await && !connection.is_ending());
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!look().await && connection.is_ending(), "11 s without a request");
    }
}
