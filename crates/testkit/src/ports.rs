//! Ports for the program itself, which cannot be told to take port 0: its issuer and its addresses carry them.
//!
//! They lie below those that the kernel gives to outgoing connections, so that no connection of another test takes one
//! between the choice and the use; and whoever has them has a lock file, so that no other test chooses the same.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

/// How many ports in a row the program takes: gateway, admin, public documents, demo API.
const ROW: u16 = 4;

/// The first of ours. Below are those of well-known services.
const FIRST: u16 = 10_240;

/// Four ports in a row that are nobody else's for as long as this is kept.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _claim: File,
}

impl Ports {
    /// Chooses them.
    pub fn claim() -> Self {
        let claims = std::env::temp_dir().join("countersign-test-ports");
        std::fs::create_dir_all(&claims).unwrap();
        let rows = (ephemeral_from() - FIRST) / ROW;
        // Each process begins elsewhere, so that it seldom meets what another one has.
        let begin = u16::try_from(std::process::id() % u32::from(rows)).unwrap();
        for row in (begin..rows).chain(0..begin) {
            let first = FIRST + row * ROW;
            let claim = File::create(claims.join(first.to_string())).unwrap();
            let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if claim.try_lock().is_ok() && (first..first + ROW).all(free) {
                return Self { first, _claim: claim };
            }
        }
        panic!("no {ROW} free ports in a row");
    }

    /// The first of them.
    pub fn first(&self) -> u16 {
        self.first
    }
}

/// From where on the kernel takes ports for outgoing connections.
fn ephemeral_from() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let from = range.split_whitespace().next().and_then(|from| from.parse().ok());
    from.filter(|from| *from > FIRST + ROW).unwrap_or(32_768)
}
