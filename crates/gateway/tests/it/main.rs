//! The data path on real sockets of the loopback interface, with real TLS. What is tested by rule bears the rule's name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set itself up must fail at once"
)]

mod client;
mod http2_peer;
mod pki;
mod played;
mod upstream;
mod world;

mod broken_off;
mod connections;
mod decisions;
mod descriptors;
mod forwarding;
mod framing;
mod handshake_alerts;
mod handshake_cost;
mod handshake_cpu;
mod header_names;
mod http2;
mod http2_host;
mod http2_malformed;
mod http2_waits;
mod limits;
mod observed;
mod plain;
mod queries;
mod resolving;
mod reuse;
mod sent_once;
mod tls;
mod uploads;
