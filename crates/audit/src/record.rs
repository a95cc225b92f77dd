//! One record, one line: sequence number, the hash of the line before, then the event.
//!
//! ```json
//! {"seq":7,"prev":"9f86d0…","ref":"01JZ8Q0M3T4V6X8Z0A2C4E6G8J","at":"2026-11-22T08:00:00Z","action":"token_issued",…}
//! ```
//! `prev` is SHA-256 over the octets of the previous line without its line end; 64 zeros in the first record. The
//! order of the first three members is fixed: the readers find them without parsing the line. A line is printable ASCII.

use aws_lc_rs::digest::{SHA256, digest};
use countersign_model::audit::{AuditAction, AuditEvent};
use countersign_model::{ReasonCode, Reference, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 1, without gaps, over all segments.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// The hash of the record before.
    #[serde(rename = "prev")]
    pub previous: RecordHash,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// Present when the record stands for more refusals of the series that the one with the same reference began.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub folded: Option<Folded>,
    /// Present when the record tells of events that are not in the log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<Lost>,
}

impl Record {
    /// How many events the record stands for. Lost ones do not count: they are not in the log.
    pub fn events(&self) -> u64 {
        self.folded.as_ref().map_or(1, |folded| folded.count)
    }
}

/// A record that stands for many. It bears the reference of the event that began the series, which has a record of
/// its own; the answers of all refusals of the series bore that reference. A series has a record for each exact reason in
/// it: what callers read was the same for all. A series of tokens is of one client, credential, certificate, audience, scope
/// and network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// How many, beside the one that has its own record.
    pub count: u64,
    /// When the first of them happened.
    pub first: Timestamp,
    /// When the last of them happened.
    pub last: Timestamp,
    /// Where they came from: `192.0.2.0/24`. Absent when they are folded over all sources.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub network: Option<String>,
    /// From how many different networks they came; present when networks are no longer told apart. 1024: or more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub networks: Option<u32>,
    /// How many different certificates were presented; present when they are no longer told apart. 1024: or more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificates: Option<u32>,
}

/// Events that happened and are not in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Why.
    pub cause: LossCause,
    /// What they were, where it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub action: Option<AuditAction>,
    /// Their reason, where they were refusals.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<ReasonCode>,
    /// When the first of them happened, or was noticed to be missing.
    pub first: Timestamp,
    /// When the last of them happened, or was noticed to be missing.
    pub last: Timestamp,
}

/// Why events are not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// They came faster than they could be taken.
    QueueFull,
    /// Little space was left on the disk, and it was kept for what administrators do.
    SpaceLow,
    /// The disk was full or broken for longer than they could be kept in memory.
    DiskFailed,
    /// The log is shorter than its stored head: somebody cut it, or the disk lost what it had confirmed.
    TailMissing,
}

/// What is to be recorded: an event, or a count of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: AuditEvent,
    /// A count of refusals.
    pub folded: Option<Folded>,
    /// A count of lost events.
    pub lost: Option<Lost>,
    /// The caller of `append_durably` keeps the event until it is confirmed, so a failed write drops it here.
    pub(crate) kept_by_caller: bool,
}

impl From<AuditEvent> for Entry {
    fn from(event: AuditEvent) -> Self {
        Self { event, folded: None, lost: None, kept_by_caller: false }
    }
}

/// SHA-256 of a line. Displayed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordHash(pub [u8; 32]);

impl RecordHash {
    /// What stands before the first record.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a line without its line end.
    pub fn of(line: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, line).as_ref());
        Self(hash)
    }
}

/// A text that is no SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record's hash is 64 lower-case hexadecimal digits")]
pub struct InvalidHash;

impl FromStr for RecordHash {
    type Err = InvalidHash;
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| InvalidHash)?;
        // One hash has one text: an upper-case copy would otherwise be an unseen change of the last line.
        if hex::encode(hash) == text { Ok(Self(hash)) } else { Err(InvalidHash) }
    }
}

impl TryFrom<String> for RecordHash {
    type Error = InvalidHash;
    fn try_from(text: String) -> Result<Self, InvalidHash> {
        text.parse()
    }
}

impl From<RecordHash> for String {
    fn from(hash: RecordHash) -> Self {
        hex::encode(hash.0)
    }
}

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of the chain: the last record's number and hash. Kept outside of the log, it shows a cut tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last record's sequence number; 0 when there is none.
    pub sequence: u64,
    /// The last record's hash.
    pub hash: RecordHash,
}

impl Head {
    /// The head of an empty log.
    pub const EMPTY: Self = Self { sequence: 0, hash: RecordHash::NONE };

    /// Appends the line of `entry` to `out` and gives the head after it.
    pub(crate) fn extend(self, entry: &Entry, out: &mut Vec<u8>) -> Result<Head, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            seq: u64,
            prev: RecordHash,
            #[serde(flatten)]
            event: &'a AuditEvent,
            #[serde(skip_serializing_if = "Option::is_none")]
            folded: Option<&'a Folded>,
            #[serde(skip_serializing_if = "Option::is_none")]
            lost: Option<&'a Lost>,
        }
        let sequence = self.sequence + 1;
        let start = out.len();
        let line = Line {
            seq: sequence,
            prev: self.hash,
            event: &entry.event,
            folded: entry.folded.as_ref(),
            lost: entry.lost.as_ref(),
        };
        if let Err(error) = serde_json::to_writer(&mut *out, &line) {
            out.truncate(start);
            return Err(error);
        }
        if out[start..].iter().any(|octet| !(b' '..=b'~').contains(octet)) {
            let escaped = escape(&out[start..]);
            out.truncate(start);
            out.extend_from_slice(&escaped);
        }
        let hash = RecordHash::of(&out[start..]);
        out.push(b'\n');
        Ok(Head { sequence, hash })
    }
}

/// A line is printable ASCII: what a caller chose cannot steer the terminal of who reads the file (rule G11). JSON's own
/// escapes leave DEL, the C1 controls and the bidirectional overrides as they are. Outside of strings there is no other
/// character to begin with, so an escape is always within one.
fn escape(line: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(line.len() * 2);
    for character in String::from_utf8_lossy(line).chars() {
        match character {
            ' '..='~' => escaped.push(character as u8),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    escaped.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    escaped
}

/// The first three members of a line, read without parsing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) sequence: u64,
    pub(crate) previous: RecordHash,
    pub(crate) reference: Reference,
}

impl Glance {
    /// `None` when the line (without its line end) does not begin and end as our lines do.
    pub(crate) fn at(line: &[u8]) -> Option<Self> {
        let rest = line.strip_suffix(b"}")?.strip_prefix(br#"{"seq":"#)?;
        let digits = rest.iter().position(|octet| !octet.is_ascii_digit())?;
        let (sequence, rest) = rest.split_at(digits);
        let (previous, rest) = rest.strip_prefix(br#","prev":""#)?.split_at_checked(64)?;
        let (reference, _) = rest.strip_prefix(br#"","ref":""#)?.split_at_checked(26)?;
        Some(Self {
            sequence: text(sequence)?.parse().ok()?,
            previous: text(previous)?.parse().ok()?,
            reference: text(reference)?.parse().ok()?,
        })
    }
}

/// The reference in a line, as text; for searching, where most lines are not the one.
pub(crate) fn reference_in(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(br#"{"seq":"#)?;
    let digits = rest.iter().position(|octet| !octet.is_ascii_digit())?;
    let rest = rest[digits..].strip_prefix(br#","prev":""#)?.get(64..)?;
    rest.strip_prefix(br#"","ref":""#)?.get(..26)
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}
