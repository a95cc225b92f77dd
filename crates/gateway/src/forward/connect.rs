//! A TCP connection to an upstream, which is named by an address or by a name.

use crate::resolve::{Names, Unresolved};
use crate::settings::Upstream;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use tokio::time::{Instant, error::Elapsed, timeout_at};

/// Connects within the upstream's `connect_timeout`, look-ups included. An address as it is needs no look-up. A name whose
/// addresses take no connection is looked up once more, since the upstream may have moved: nothing was written yet (G17).
pub(super) async fn connect(upstream: &Upstream, names: &Names) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + upstream.connect_timeout;
    let authority = upstream.authority();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(80);
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = SocketAddr::new(address, port);
        return timeout_at(deadline, TcpStream::connect(address)).await?.map_err(ConnectError::Io);
    }
    let addresses = timeout_at(deadline, names.addresses(host, port)).await??;
    let refused = match timeout_at(deadline, TcpStream::connect(&*addresses)).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => error,
        Err(elapsed) => {
            // The next caller finds what the look-up says.
            names.renew(&addresses, host, port);
            return Err(elapsed.into());
        }
    };
    let Ok(now) = timeout_at(deadline, names.addresses_instead_of(&addresses, host, port)).await else {
        return Err(ConnectError::Io(refused));
    };
    let others: Vec<SocketAddr> = now?.iter().filter(|now| !addresses.contains(now)).copied().collect();
    if others.is_empty() {
        return Err(ConnectError::Io(refused));
    }
    timeout_at(deadline, TcpStream::connect(&*others)).await?.map_err(ConnectError::Io)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("all connections that there may be are in use")]
    Full,
    #[error("its name is not found: {0}")]
    Name(#[from] Unresolved),
    #[error("connecting took too long")]
    TimedOut,
    #[error("connecting failed: {0}")]
    Io(io::Error),
    #[error("connecting failed: {0}")]
    Http(hyper::Error),
}

impl From<Elapsed> for ConnectError {
    fn from(_: Elapsed) -> Self {
        Self::TimedOut
    }
}
