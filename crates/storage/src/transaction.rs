//! A closed transaction: what is written together, or not at all.

use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{CertificateRecord, CrlRecord, Issuer, RevocationReason};
use countersign_model::client::{Client, ClientChanges, ClientState, Credential};
use countersign_model::key::KeyRecord;
use countersign_model::operator::Operator;
use countersign_model::{ClientId, CredentialId, IssuerId, KeyId, Serial, Thumbprint, Timestamp};

/// Writes that are committed together, and the audit events that tell of them (design, decision 18: rows of
/// `audit_outbox` in the same transaction).
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// In the order in which they are applied.
    pub writes: Vec<Write>,
    /// Recorded with the writes, or not at all.
    pub events: Vec<AuditEvent>,
}

impl Transaction {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds an audit event.
    #[must_use]
    pub fn record(mut self, event: AuditEvent) -> Self {
        self.events.push(event);
        self
    }
}

/// What a commit tells: it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The sequence of the last change in the feed when this transaction was committed: a view that has applied it
    /// knows of everything in the transaction.
    pub sequence: u64,
}

/// One typed write. Each is atomic and states its precondition; one that does not hold fails the transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// Adds a client. `Conflict` when the `client_id` is taken. Change: the client.
    InsertClient(Client),
    /// Sets a client's state and adds one to its epoch, so that its tokens die. Idempotent: nothing happens when the
    /// state is that already. `Missing` when there is no such client. Change: the client.
    SetClientState {
        /// Whose.
        client: ClientId,
        /// The new state.
        state: ClientState,
        /// When.
        at: Timestamp,
    },
    /// Changes what is registered of a client, member by member, so that of two edits at once neither undoes the other's
    /// members. What takes a scope or an audience away adds one to its epoch, so that its tokens die. `Missing`. Change: the
    /// client, if anything is different afterwards.
    EditClient {
        /// Whose.
        client: ClientId,
        /// What is new.
        changes: ClientChanges,
        /// When.
        at: Timestamp,
    },
    /// Adds a credential. `Conflict` when the id is taken, or when it is an active certificate matcher whose value an
    /// active one has already (rule C4), else `Missing` without its client. Change: the client.
    InsertCredential(Credential),
    /// Adds a certificate matcher, unless the client has an active one with the same value. `Conflict` when another
    /// client has it, or the credential is no active matcher. Active means not revoked: what an operator let end is not taken back
    /// by issuing a certificate. Change: the client, if it was added.
    InsertMatcherIfAbsent(Credential),
    /// Lets a credential end at `expires_at`, if it does not end before already. `Missing`. Change: the client, if so.
    ExpireCredential {
        /// Which.
        credential: CredentialId,
        /// From when on it is not accepted.
        expires_at: Timestamp,
    },
    /// Revokes a credential and adds one to its epoch. Idempotent. `Missing`. Change: the client, the first time.
    RevokeCredential {
        /// Which.
        credential: CredentialId,
    },
    /// Adds a secret and ends all others of its client. The transaction itself selects the secrets to end, so that one which
    /// was added in between ends too. `Conflict` unless the client is active and its other secrets are those that the caller
    /// has read: of two rotations at once only one succeeds, and the secret that it hands out stays valid. `Missing` without the
    /// client. Change: the client.
    ReplaceSecrets {
        /// The new secret.
        new: Credential,
        /// The secrets of the client that the caller has read and that are not revoked, in any order.
        known: Vec<CredentialId>,
        /// When the others end, if they do not end before already; `None` revokes them and adds one to their epochs.
        others_end_at: Option<Timestamp>,
    },
    /// Says that a public key is free for a client: `KeyTaken` when the ledger has a row with it, in any state and however
    /// old, that is not this client's (rule P10). Before the row of the client, in one transaction, so that of two clients at
    /// once only one gets a certificate for the key. No change.
    KeyIsFree {
        /// SHA-256 of the SubjectPublicKeyInfo.
        key_hash: [u8; 32],
        /// For whom.
        client: ClientId,
    },
    /// Adds a row to the ledger; its state must be `Pending`. `Conflict` when the issuer used the serial already
    /// (rule P1), `Missing` when it names a client that does not exist. No change: nobody can present it yet.
    InsertPendingCertificate(CertificateRecord),
    /// `Pending` becomes `Issued`. `Missing`, or `Conflict` when it is not pending, or its client is not active: what was
    /// revoked or disabled while it was being signed is not handed out. No change in the feed: a certificate is accepted
    /// by its signature and refused by its revocation.
    MarkIssued {
        /// Whose ledger.
        issuer: IssuerId,
        /// Which row.
        serial: Serial,
        /// The certificate, DER.
        der: Vec<u8>,
        /// SHA-256 of it.
        thumbprint: Thumbprint,
    },
    /// `Pending` becomes `Abandoned`. `Missing`, or `Conflict` when it is not pending. Change: the certificate.
    MarkAbandoned {
        /// Whose ledger.
        issuer: IssuerId,
        /// Which row.
        serial: Serial,
        /// When that was found.
        at: Timestamp,
    },
    /// Revokes, also what is pending still. `Missing`, or `Conflict` when it is revoked or abandoned already: the first
    /// time and reason stay (rule R5), and of two callers at once one alone records that it revoked. Change: the
    /// certificate.
    RevokeCertificate {
        /// Whose ledger.
        issuer: IssuerId,
        /// Which row.
        serial: Serial,
        /// When.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// Says that nothing is left to revoke: `Conflict` while the client has a certificate that is issued or pending and does
    /// not expire before `valid_at`. Behind the revocations of what was listed, so that what came since is not left out. No
    /// change.
    NoCertificateLeft {
        /// Whose.
        client: ClientId,
        /// What expires before is over by itself.
        valid_at: Timestamp,
    },
    /// Adds an issuer. `Conflict` when the name is taken. Change: the issuers.
    InsertIssuer(Issuer),
    /// Adds a key. `Conflict` when the id is taken. Change: the token keys, for a token key.
    InsertKey(KeyRecord),
    /// A token key stops to sign at `at`, unless it stopped before. `Missing`. Change: the token keys, if so.
    RetireKey {
        /// Which.
        key: KeyId,
        /// From when on.
        at: Timestamp,
    },
    /// Forgets a key whose last token has expired. Idempotent. Change: the token keys, if it was one.
    DeleteKey {
        /// Which.
        key: KeyId,
    },
    /// Publishes a CRL in the place of the one before. `Conflict` unless its number is greater (rule R1). Change: the CRL.
    PutCrl(CrlRecord),
    /// The next list of an issuer's shard has a greater number than this one, and is due at once (rule R7): the number is out in
    /// the world, and the list is not here. Silently nothing without a list, or when its number is not smaller. Change: the CRL,
    /// if so.
    RaiseCrlNumber {
        /// Whose list.
        issuer: IssuerId,
        /// Which shard of it.
        shard: u16,
        /// The last number that was published.
        number: u64,
    },
    /// Adds an operator. `Conflict` when the name is taken. Change: the operators.
    InsertOperator(Operator),
    /// Gives an operator another token, in the place of the one before, and enables him. `Missing`. Change: the operators.
    ReplaceOperatorToken {
        /// Whose.
        name: String,
        /// HMAC-SHA-256 of the new token under the pepper of operators' tokens.
        token_hmac: [u8; 32],
    },
    /// Stores another value for the same token of an operator, because values are made in another way now. Silently nothing
    /// unless the stored one is `from` still: a token that was reset meanwhile stays reset. Change: the operators, if so.
    RestateOperatorToken {
        /// Whose.
        name: String,
        /// The value as it was read.
        from: [u8; 32],
        /// The value of the same token.
        to: [u8; 32],
    },
    /// Adds to what is known of a credential's use. Silently nothing when it is gone. No change.
    CredentialUsed {
        /// Which.
        credential: CredentialId,
        /// The last use.
        at: Timestamp,
        /// How many uses more.
        uses: u64,
    },
    /// Adds to what is known of a certificate's use. Silently nothing when it is not in the ledger. No change.
    CertificateUsed {
        /// Whose ledger.
        issuer: IssuerId,
        /// Which row.
        serial: Serial,
        /// The last use.
        at: Timestamp,
        /// How many calls more.
        calls: u64,
    },
    /// Deletes the outbox rows up to and including `through`: their events are on disk in the audit log.
    SettleOutbox {
        /// The last row that was appended.
        through: u64,
    },
    /// Saves the head of an audit chain, so that a cut tail shows. Never goes back: a head of a smaller sequence than the
    /// saved one is ignored, because saves may overtake one another. No change.
    SaveAuditHead(AuditHead),
    /// Events of the audit log are numbered behind this one, because the log has events of this installation up to it. No
    /// change.
    NumberEventsAfter(u64),
    /// Deletes changes up to and including `through`: every follower has them. No change.
    ForgetChanges {
        /// The last one to go.
        through: u64,
    },
}

/// The head of one node's audit chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// Which chain: the node's name.
    pub chain: String,
    /// The sequence of its last record.
    pub sequence: u64,
    /// SHA-256 of its last line.
    pub hash: [u8; 32],
}
