//! Puts the parts together into one process: what the configuration says, over what storage holds.
//!
//! - [`installation`]: storage, keys and the authority, opened; what `init`, `quickstart` and `serve` share. Before that,
//!   [`older_database`]: a database that somebody put back is refused, or replayed from the audit log.
//! - [`server`]: the whole server, started and stopped in order.
//! - [`policy`]: from configuration to the snapshots that a reload swaps; [`tls`]: the listeners' certificates.
//! - [`metric_table`]: every metric with its help text.
//! - [`connections`], [`follow`], [`outbox`], [`timers`], [`clock_steps`], [`space`] with [`reserve`] and [`start_on_full`]: what runs beside the
//!   data path.

pub mod installation;
pub mod metric_table;
pub mod server;

mod clock_steps;
mod connections;
mod follow;
mod memory;
mod metrics;
mod older_database;
mod outbox;
mod policy;
mod reserve;
mod space;
mod start_on_full;
mod timers;
mod tls;

pub use installation::{Installation, Older, OpenError};
pub use older_database::Behind;
pub use server::{ReloadError, Server, StartError};
pub use space::{Disk, SystemDisk};
