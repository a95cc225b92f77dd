//! Who is calling and what may he do (ring R1): pure decisions, and the one rendering of a refusal.
//!
//! Bytes, snapshots and a `now` in; values or a [`Denial`] out. No sockets, no clock, no randomness of its own, no SQL.
//! What this crate needs to know it asks of ports: [`peer::Registry`] (clients, revocations), [`decision::TokenVerifier`]
//! (signatures, so that a cache can stand before them) and [`client_auth::Throttle`] (counters of failures).
//!
//! The stages of a request are types, each made from the one before, so that the compiler checks the order:
//! [`route::Matched`] -> [`decision::Caller`] -> [`decision::Permit`]. A `Permit` can be built nowhere else, and
//! forwarding takes one: code that proxies without deciding does not compile.
//!
//! Read in this order: [`peer`], [`route`], [`decision`], [`client_auth`], [`rate_limit`], [`cost_budget`], [`identity`], [`denial`].

pub mod peer;
pub mod route;

pub mod decision;

pub mod client_auth;
pub mod cost_budget;
pub mod header_names;
pub mod identity;
pub mod rate_limit;

pub mod denial;

pub use decision::{Caller, Permit, Policy};
pub use denial::Denial;
pub use peer::{ClientEntry, Peer, Registry};
pub use route::{Matched, Route, RouteTable};

#[cfg(test)]
mod testing;
