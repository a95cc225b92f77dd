//! The audit log (ring R2): a record for a court. Append-only segments of JSON lines, each record with its sequence
//! number and the hash of the record before it (design, decision 18).
//!
//! What it promises:
//! - Nothing that was written can be changed, dropped, moved or cut without [`verify`] seeing it: the chain shows the
//!   inside, the head that is kept elsewhere ([`HeadStore`]) shows the end.
//! - What could not be written is counted, and the count is itself recorded.
//! - The data path never waits for the disk ([`Recorder::record`]), and what must be durable is
//!   ([`Recorder::append_durably`]).
//! - A flood of equal refusals costs a few lines that count them exactly ([`fold`]).
//!
//! What it does not do: decide what is worth recording, or keep a secret; [`countersign_model::audit`] has no field
//! for one. It knows no database, no HTTP and no clock of its own.
//!
//! Read in this order, in which each knows only those before it: [`record`] (a line), [`fold`] and the queue, what the
//! threads share, the head's store, errors, the files (the segment that is written to, the end at start, [`log`]), the
//! writer and the line that it writes for a series, [`recorder`], then the readers.

pub mod record;

pub mod fold;
mod queue;
mod shared;

mod error;
mod heads;

mod current;
pub mod log;
mod medium;
mod recent;
mod segment;
mod tail;

mod line;
pub mod recorder;
mod writer;

mod committed;
pub mod find;
mod lines;
pub mod list;
pub mod verify;

#[cfg(test)]
mod testing;

pub use committed::committed_after;
pub use error::{AuditError, Unrecorded};
pub use find::find;
pub use fold::FoldSettings;
pub use heads::{HeadStore, HeadStoreError};
pub use list::{Filter, list};
pub use log::{AuditLog, LogSettings};
pub use record::{Entry, Folded, Head, LossCause, Lost, Record, RecordHash};
pub use recorder::{Recorded, Recorder};
pub use shared::{RecorderSettings, Stats};
pub use verify::{Finding, Problem, Report, verify};
