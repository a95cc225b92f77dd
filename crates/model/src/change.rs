//! The change feed: what a running node must hear of (design, decision 17).

use crate::{ClientId, IssuerId, Serial, Timestamp};

/// One committed change. Followers apply them in the order of `sequence`, and read the object anew by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Strictly increasing. Gaps are possible, reordering is not.
    pub sequence: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// What changed.
    pub subject: Changed,
}

/// The object that changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Changed {
    /// A client or one of its credentials.
    Client(ClientId),
    /// A certificate was revoked or abandoned.
    Certificate(IssuerId, Serial),
    /// The token keys: a new one, or one that retired.
    TokenKeys,
    /// Our issuers.
    Issuers,
    /// An operator.
    Operators,
    /// A new CRL of an issuer.
    Crl(IssuerId, u16),
}
