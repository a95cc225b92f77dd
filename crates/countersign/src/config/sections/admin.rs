//! `[admin]`: the listener of the admin API.

use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::section;
use std::net::SocketAddr;

section! {
    /// The admin API with health and metrics. It speaks plain HTTP, and so listens on this machine only, and answers under its
    /// names only: `localhost`, `127.0.0.1`, `::1` and the address itself; another `Host` gets 421. A change needs a restart.
    AdminSection = "[admin]" {
        /// A loopback address and port.
        listen: SocketAddr = Required;
    }
}

/// The admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl AdminSection {
    pub(crate) fn check(&self, out: &mut Mistakes) -> Option<Admin> {
        let listen = self.listen.get()?;
        // Rule T1: operators' credentials do not cross a network in the clear.
        if !listen.value.ip().is_loopback() {
            let mistake = Mistake::new(
                listen.entry.clone(),
                "the admin API would be reachable from other machines",
                "without TLS it may listen on a loopback address only",
            );
            let port = listen.value.port();
            out.add(mistake.help(format!(
                "listen = \"127.0.0.1:{port}\", and reach it from elsewhere by an SSH tunnel"
            )));
            return None;
        }
        Some(Admin { listen: listen.value })
    }
}
