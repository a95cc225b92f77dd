//! `[limits]`: how much and how long (rule G15).

use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{At, section};
use crate::config::values::{Network, Period, Size};
use countersign_gateway::guard::limits::{MAX_CHUNK_OVERHEAD_BYTES, MAX_HEAD_BYTES, MAX_HEADER_COUNT};
use ipnet::IpNet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

section! {
    /// Limits against floods and slow callers, for each connection unless they say otherwise.
    LimitsSection = "[limits]" {
        /// Bytes of a request's head, request line included; more are answered with 431. At most 60KiB.
        header_size: Size = Default("\"32KiB\"");
        /// Fields of a request's head; more are answered with 431. At most 256.
        header_count: NonZeroU32 = Default("100");
        /// Bytes of a request's body; more are answered with 413.
        body_size: Size = Default("\"10MiB\"");
        /// Bytes of chunk extensions and trailer fields of a body together; more are answered with 431. At most 15KiB.
        chunk_overhead_size: Size = Default("\"8KiB\"");
        /// How long a TLS handshake may take.
        handshake_timeout: Period = Default("\"5s\"");
        /// From the handshake to the first byte of the first request; the connection is closed after this time.
        first_request_timeout: Period = Default("\"10s\"");
        /// From the first byte of a head to its last; later is answered with 408.
        header_timeout: Period = Default("\"10s\"");
        /// How long a body may take as a whole; later is answered with 408.
        body_timeout: Period = Default("\"5m\"");
        /// How long a body may pause; later is answered with 408.
        body_pause_timeout: Period = Default("\"20s\"");
        /// A caller must read at least 4 KiB of the answer, or all that is ready, within this time; otherwise its connection is closed.
        write_pause_timeout: Period = Default("\"30s\"");
        /// How long a connection is kept between two requests.
        idle_timeout: Period = Default("\"75s\"");
        /// What requests in flight may take when the program stops. The whole stop may take 5 s longer, for the last records; then the process is ended. What starts it should wait longer than both.
        shutdown_timeout: Period = Default("\"10s\"");
        /// Open connections in all; the limit of open files may allow fewer. When the limit is reached, the oldest connection that has not identified its client is closed. If all have, the new connection is closed before any TLS work.
        connections: NonZeroU32 = Default("10000");
        /// Open connections from one address; more are closed before any TLS work.
        connections_per_address: NonZeroU32 = Default("256");
        /// CPU time that failed TLS handshakes of one address (or /64 of IPv6) may take per second; bursts of up to ten times that are allowed. Above this budget, its connections are closed before any TLS work. An ordinary handshake takes less than 1ms.
        failed_handshake_cpu: Period = Default("\"100ms\"");
        /// Addresses of load balancers that pass TLS on, as `["10.0.0.0/28"]`: `connections_per_address` and `failed_handshake_cpu` do not apply to them, because they carry the connections of all callers. Default: none.
        balancers: Vec<At<Network>> = Optional;
        /// Open connections with certificates of one client; more are answered with 503.
        connections_per_client: NonZeroU32 = Default("1024");
        /// Maximum concurrent requests of one client; more are answered with 503. A request counts until its answer has ended; an open stream counts all the time. The effective limit is the lower of this value and a quarter of the upstream connections that open files allow.
        requests_per_client: NonZeroU32 = Default("256");
        /// HTTP/2 streams at once.
        concurrent_streams: NonZeroU32 = Default("128");
        /// HTTP/2 streams that a caller may reset before they have begun (CVE-2023-44487); more end the connection.
        stream_resets: NonZeroU32 = Default("20");
        /// HTTP/2 requests within one second that a caller may take back before they are answered; more cut the connection.
        resets_per_second: NonZeroU32 = Default("100");
    }
}

/// How much and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the key of the same name, which LimitsSection documents")]
pub struct Limits {
    pub header_bytes: usize,
    pub header_count: usize,
    pub body_bytes: u64,
    pub chunk_overhead_bytes: usize,
    pub handshake_timeout: Duration,
    pub first_request_timeout: Duration,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub body_pause_timeout: Duration,
    pub write_pause_timeout: Duration,
    pub idle_timeout: Duration,
    pub shutdown_timeout: Duration,
    pub connections: usize,
    pub connections_per_address: usize,
    pub failed_handshake_cpu: Duration,
    pub balancers: Vec<IpNet>,
    pub connections_per_client: usize,
    pub requests_per_client: usize,
    pub concurrent_streams: u32,
    pub stream_resets: usize,
    pub resets_per_second: u32,
}

impl LimitsSection {
    pub(crate) fn check(&self, out: &mut Mistakes) -> Option<Limits> {
        // Above these hyper ends a request by itself.
        let sizes = [
            (&self.header_size, MAX_HEAD_BYTES, "60KiB"),
            (&self.chunk_overhead_size, MAX_CHUNK_OVERHEAD_BYTES, "15KiB"),
        ];
        for (size, most, words) in sizes {
            if let Some(at) = size.get().filter(|at| at.value.0 > most as u64) {
                out.add(too_large(&at.entry, words));
            }
        }
        if let Some(at) = self.header_count.get().filter(|at| count(at.value) > MAX_HEADER_COUNT) {
            out.add(too_large(&at.entry, "256"));
        }
        Some(Limits {
            header_bytes: usize::try_from(self.header_size.value()?.0).ok()?,
            header_count: count(*self.header_count.value()?),
            body_bytes: self.body_size.value()?.0,
            chunk_overhead_bytes: usize::try_from(self.chunk_overhead_size.value()?.0).ok()?,
            handshake_timeout: self.handshake_timeout.value()?.0,
            first_request_timeout: self.first_request_timeout.value()?.0,
            header_timeout: self.header_timeout.value()?.0,
            body_timeout: self.body_timeout.value()?.0,
            body_pause_timeout: self.body_pause_timeout.value()?.0,
            write_pause_timeout: self.write_pause_timeout.value()?.0,
            idle_timeout: self.idle_timeout.value()?.0,
            shutdown_timeout: self.shutdown_timeout.value()?.0,
            connections: count(*self.connections.value()?),
            connections_per_address: count(*self.connections_per_address.value()?),
            failed_handshake_cpu: self.failed_handshake_cpu.value()?.0,
            balancers: match self.balancers.get() {
                Some(list) => list.value.iter().map(|network| network.value.0).collect(),
                None => Vec::new(),
            },
            connections_per_client: count(*self.connections_per_client.value()?),
            requests_per_client: count(*self.requests_per_client.value()?),
            concurrent_streams: self.concurrent_streams.value()?.get(),
            stream_resets: count(*self.stream_resets.value()?),
            resets_per_second: self.resets_per_second.value()?.get(),
        })
    }
}

fn too_large(entry: &Range<usize>, most: &str) -> Mistake {
    let reason = format!("at most {most}: who sends more than that would get no answer");
    Mistake::new(entry.clone(), "the limit is too large", reason)
}

fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}
