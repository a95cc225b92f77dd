//! Connections that do nothing: opened, used once, held, closed; and what that takes of the server's memory.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::load::{self, Options};
use crate::measure::resident_kib;

/// From the last connection's end to the look at what is left.
const GONE: Duration = Duration::from_secs(10);
/// Connections from one address of the loopback network: no server of the comparison caps fewer.
const FROM_ONE_ADDRESS: usize = 200;

/// What is printed.
#[derive(Serialize)]
pub(crate) struct Report {
    connections: usize,
    before_kib: u64,
    open_kib: u64,
    gone_kib: u64,
    kib_per_connection: f64,
}

/// Opens `--connections` one after the other, each with one request.
pub(crate) async fn run(options: Options) -> Result<Report, load::Error> {
    let (target, request) = (load::target(&options).await?, load::request(&options)?);
    let before_kib = resident_kib(&options.cpu_of)?;
    let mut open = Vec::new();
    for number in 0..options.connections as usize {
        let [high, low] = u16::try_from(number / FROM_ONE_ADDRESS)?.to_be_bytes();
        let source = IpAddr::V4(Ipv4Addr::new(127, 1, high, low + 1));
        let answered = async {
            let mut connection = Connection::open_from(source, &target).await?;
            let answer = connection.round_trip(&request).await?;
            Ok::<_, load::Error>((connection, answer))
        };
        let (connection, answer) = timeout(Duration::from_secs(options.timeout), answered).await??;
        if answer.status != options.expect || answer.last {
            return Err(format!("connection {number} is answered with {}", answer.status).into());
        }
        open.push(connection);
    }
    let open_kib = resident_kib(&options.cpu_of)?;
    let connections = open.len();
    for connection in open {
        connection.close().await;
    }
    sleep(GONE).await;
    Ok(Report {
        connections,
        before_kib,
        open_kib,
        gone_kib: resident_kib(&options.cpu_of)?,
        kib_per_connection: open_kib.saturating_sub(before_kib) as f64 / connections.max(1) as f64,
    })
}
