//! Memory that nobody uses goes back to the system (rule G20): what a flood of callers took is not kept from others.
//!
//! mimalloc gives freed pages back a second later, but looks for what is due only while pages are freed. A server that is
//! idle after a flood frees none: 5,000 connections that had gone left 200 MB behind (measured). So a page is freed now
//! and then.

use std::hint::black_box;
use std::time::Duration;
use tokio::sync::watch;

/// How often a page is freed.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// Larger than what mimalloc puts together with others, so that the page is freed with it. Nothing writes to it, so it
/// takes no memory.
const PAGE_BYTES: usize = 1 << 20;

/// Runs until `stop`.
pub(super) async fn give_back(mut stop: watch::Receiver<bool>) {
    let mut turns = tokio::time::interval(GIVE_BACK);
    loop {
        tokio::select! {
            _ = turns.tick() => drop(black_box(Vec::<u8>::with_capacity(PAGE_BYTES))),
            _ = stop.changed() => return,
        }
    }
}
