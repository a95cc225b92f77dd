//! Admission of a connection before any TLS work (rules T11, T13 and G20), and the pause after a failed accept.

use crate::addresses::Counted;
use crate::descriptors::{Share, Taken};
use crate::no_request;
use crate::strangers::Stranger;
use crate::worker::{Listener, Worker};
use countersign_model::ReasonCode;
use countersign_model::audit::{AuditAction, Facts};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Connections of operators: a dashboard, a probe and a few commands at a time. They come out of the reserve.
const OPERATORS: usize = 32;

/// How long an operator's connection waits for a place: calls are short, so that a burst of commands is served in turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks for one meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// An operator's connection that was opened or answered within this time is not ended: its request, or its answer, may be on
/// the way.
const REST: Duration = Duration::from_millis(50);

/// What a connection takes until it is dropped.
pub(crate) struct Entered {
    /// Until the peer says who it is.
    pub(crate) stranger: Stranger,
    /// Held for as long as the connection is open.
    pub(crate) _held: (Taken, Option<Counted>),
}

/// Lets a connection in, or says by `None` that it is to be closed at once.
pub(crate) async fn enter(worker: &Worker, listener: &Listener, address: SocketAddr) -> Option<Entered> {
    let snapshot = worker.settings.snapshot.load();
    let limits = snapshot.limits;
    // Everybody comes from a balancer's address: what counts by addresses says nothing there.
    let is_balancer = snapshot.balancers.contains(address.ip());
    drop(snapshot);
    let shared = &worker.shared;
    let operators = listener.settings.operators;
    // Rule T13: an address whose failed handshakes cost too much costs nothing more for a while.
    if !operators && !is_balancer && listener.settings.certificate.is_some() {
        let failed = &shared.failed_handshakes;
        if !failed.admits(address.ip(), &limits.failed_handshakes()) {
            listener.metrics.over_budget();
            refused(
                worker,
                listener,
                address,
                "limits.failed_handshake_cpu is used up by its network".to_owned(),
            );
            return None;
        }
    }
    if operators {
        let place = place_of_operator(worker, listener, &shared.operators).await;
        if place.is_none() {
            turn_away(listener, OPERATORS);
        }
        return place.map(|place| Entered { stranger: worker.visitors.enter(), _held: (place, None) });
    }
    let limit = limits.connections.min(worker.settings.descriptors.callers);
    // Rule T11: more than its share costs the peer a closed socket and us no TLS work.
    let limit_of_address = if is_balancer { usize::MAX } else { limits.connections_per_address };
    let Some(counted) = shared.addresses.admit(address.ip(), limit_of_address) else {
        listener.metrics.turned_away();
        let detail =
            format!("its address has {limit_of_address} connections: limits.connections_per_address");
        refused(worker, listener, address, detail);
        return None;
    };
    let mut descriptor = shared.callers.take(limit);
    if descriptor.is_none() && worker.strangers.make_room() {
        listener.metrics.made_room();
        // The task that was ended gives its descriptor back when it is dropped, which is before our next turn.
        tokio::task::yield_now().await;
        descriptor = shared.callers.take(limit);
    }
    let Some(descriptor) = descriptor else {
        turn_away(listener, limit);
        refused(worker, listener, address, format!("there are {limit} connections in all"));
        return None;
    };
    Some(Entered { stranger: worker.strangers.enter(), _held: (descriptor, Some(counted)) })
}

/// A place among the operators: a free one, or that of a connection that waits for nothing. A request in flight is never
/// cut for a newcomer: it may be carried out already, and its answer hold what is shown once.
async fn place_of_operator(worker: &Worker, listener: &Listener, operators: &Arc<Share>) -> Option<Taken> {
    let begun = Instant::now();
    loop {
        let place = operators.take(OPERATORS);
        let now = Instant::now();
        if place.is_some() || now.duration_since(begun) >= PATIENCE {
            return place;
        }
        if worker.visitors.end_idle(now, REST) {
            listener.metrics.made_room();
            tokio::task::yield_now().await; // its descriptor comes back before our next turn
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The peer reads nothing, since no TLS was spoken: the record alone tells who was kept out, and by which limit.
fn refused(worker: &Worker, listener: &Listener, address: SocketAddr, detail: String) {
    let facts = Facts { source: Some(address.ip()), detail: Some(detail), ..Facts::default() };
    no_request::record(
        worker,
        listener,
        AuditAction::ConnectionRefused,
        ReasonCode::ConnectionsExhausted,
        facts,
        |_| {},
    );
}

fn turn_away(listener: &Listener, limit: usize) {
    listener.metrics.full();
    tracing::warn!(
        listener = &*listener.name,
        limit,
        "connection closed: the limit of open connections is reached"
    );
}

/// How long to wait when the system gave no connection: the longer, the more often in a row.
#[derive(Debug, Default)]
pub(crate) struct Pause(u32);

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

impl Pause {
    /// A connection came.
    pub(crate) fn over(&mut self) {
        self.0 = 0;
    }

    /// None came: how long to wait before the next is asked for. Nothing when it is the peer's own matter, which is gone
    /// (accept(2) gives such errors of a connection that was in the queue): others wait behind it.
    pub(crate) fn after(&mut self, error: &io::Error) -> Option<Duration> {
        let of_peer = matches!(
            error.kind(),
            ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::Interrupted
                | ErrorKind::WouldBlock
                | ErrorKind::TimedOut
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::PermissionDenied
        );
        if of_peer {
            return None;
        }
        // Out of descriptors, buffers or memory. It comes again at once for as long as it lasts.
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.0)).min(LONGEST_PAUSE);
        self.0 = (self.0 + 1).min(16);
        Some(pause)
    }
}

/// Counts and tells that the system gave no connection.
pub(crate) fn accept_failed(listener: &Listener, error: &io::Error) {
    listener.metrics.accept_failed();
    tracing::warn!(%error, listener = &*listener.name, "accept failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of Linux, as accept(2) lists them.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOMEM: i32 = 12;
    const ENOBUFS: i32 = 105;
    const ECONNABORTED: i32 = 103;
    const EPERM: i32 = 1;
    const ENETUNREACH: i32 = 101;
    const EHOSTUNREACH: i32 = 113;

    #[test]
    fn rule_g20_a_shortage_is_waited_out_ever_longer_and_a_peer_that_is_gone_is_not() {
        let error = io::Error::from_raw_os_error;
        for shortage in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
            let mut pause = Pause::default();
            let pauses: Vec<_> = (0..100).map(|_| pause.after(&error(shortage)).unwrap()).collect();
            assert_eq!(pauses[0], FIRST_PAUSE);
            assert!(pauses.is_sorted() && pauses[1] == 2 * FIRST_PAUSE, "{shortage}: {pauses:?}");
            assert_eq!(pauses[99], LONGEST_PAUSE, "it goes on");
            for gone in [ECONNABORTED, EPERM, ENETUNREACH, EHOSTUNREACH] {
                assert_eq!(pause.after(&error(gone)), None, "{gone}");
            }
            pause.over();
            assert_eq!(pause.after(&error(shortage)), Some(FIRST_PAUSE), "it recovers at once");
        }
    }
}
