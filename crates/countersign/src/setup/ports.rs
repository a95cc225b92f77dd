//! Free ports: looked at before anything is made, and named together with the switch that changes them.

use super::template::Ports;
use crate::failure::{Exit, Failure};
use crate::words::in_words;
use std::net::{Ipv4Addr, TcpListener};

/// When the ports were chosen, which decides what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// Now: others will do.
    Now,
    /// When the directory was made: issuer, certificates and CRL addresses carry them.
    Before,
}

impl Chosen {
    /// `Before` at a second start.
    pub fn of(again: bool) -> Self {
        if again { Self::Before } else { Self::Now }
    }

    /// What to do about a port that is taken.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Now => "stop it, or choose other ports with --port P (P to P+3 are used)",
            Self::Before => {
                "stop it, or choose another directory with --dir: this one was made for its ports"
            }
        }
    }
}

/// What helps a user who may not listen on the ports below 1024.
pub(crate) const LOW_PORT: &str = "choose a port above 1023, or give the program the right to the lower ones: \
    AmbientCapabilities=CAP_NET_BIND_SERVICE of a systemd unit";

/// Sees that nobody listens on the ports.
///
/// The gateway binds with SO_REUSEPORT, and two processes would share the port without an error: so this asks without it.
///
/// # Errors
/// Names the first port that is taken.
pub fn expect_free(ports: Ports, chosen: Chosen) -> Result<(), Failure> {
    let wanted = [
        (ports.gateway(), "the API gateway"),
        (ports.admin(), "the admin API"),
        (ports.documents(), "CRLs and CA certificates"),
        (ports.demo(), "the demo API"),
    ];
    for (port, what) in wanted {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            let failure = Failure::new(Exit::Refused, format!("port {port}, for {what}, cannot be used"));
            let why = match error.kind() {
                std::io::ErrorKind::AddrInUse => "another program listens on it".to_owned(),
                _ => in_words(&error),
            };
            let action = match error.kind() {
                std::io::ErrorKind::PermissionDenied => LOW_PORT,
                _ => chosen.remedy(),
            };
            return Err(failure.why(why).action(action));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_named_with_the_switch_that_changes_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        for (chosen, helps, refused) in
            [(Chosen::Now, "--port", "--dir"), (Chosen::Before, "--dir", "--port")]
        {
            let failure = expect_free(Ports(port), chosen).unwrap_err();
            assert!(failure.what.contains(&port.to_string()), "{failure:?}");
            let action = failure.action.unwrap();
            assert!(action.contains(helps) && !action.contains(refused), "{action}");
        }
    }
}
