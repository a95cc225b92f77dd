//! Free ports: looked at before anything is made, and named together with the switch that changes them.

use super::template::Ports;
use crate::failure::{Exit, Failure};
use crate::words::in_words;
use std::net::{Ipv4Addr, TcpListener};

/// Sees that nobody listens on the ports.
///
/// The gateway binds with SO_REUSEPORT, and two processes would share the port without an error: so this asks without it.
///
/// # Errors
/// Names the first port that is taken.
pub fn expect_free(ports: Ports, with_demo: bool) -> Result<(), Failure> {
    let mut wanted = vec![
        (ports.gateway(), "the API gateway"),
        (ports.admin(), "the admin API"),
        (ports.documents(), "CRLs and CA certificates"),
    ];
    if with_demo {
        wanted.push((ports.demo(), "the demo API"));
    }
    for (port, what) in wanted {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            let failure = Failure::new(Exit::Refused, format!("port {port}, for {what}, cannot be used"));
            let why = match error.kind() {
                std::io::ErrorKind::AddrInUse => "another program listens on it".to_owned(),
                _ => in_words(&error),
            };
            return Err(failure
                .why(why)
                .action("stop it, or choose other ports with --port P (P to P+3 are used)"));
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
        let failure = expect_free(Ports(port), true).unwrap_err();
        assert!(failure.what.contains(&port.to_string()), "{failure:?}");
        assert!(failure.action.unwrap().contains("--port"));
    }
}
