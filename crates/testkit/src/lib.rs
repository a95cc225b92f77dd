//! The whole server in process, for tests: real sockets, real TLS, port 0, a clock that the test owns, seeded randomness
//! and an upstream that tells what it received. No sleeps, no order, no network beyond loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set itself up must fail at once"
)]

pub mod answer;
pub mod client;
pub mod clock;
pub mod disk;
pub mod evidence;
pub mod foreign;
pub mod operate;
pub mod ports;
pub mod raw;
pub mod rng;
mod seen;
pub mod server;
pub mod token;
pub mod upstream;

pub use answer::Answer;
pub use client::{Client, Identity};
pub use clock::TestClock;
pub use disk::TestDisk;
pub use ports::Ports;
pub use raw::Raw;
pub use rng::SeededRng;
pub use server::TestServer;
