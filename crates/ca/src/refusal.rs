//! Why the authority did not do what it was asked.

use countersign_keys::{CustodyError, SignError};
use countersign_model::{ClientId, ReasonCode};
use countersign_pki::name::NameError;
use countersign_pki::signature::SignatureInvalid;
use countersign_pki::{BuildError, CsrError, LintErrors};
use countersign_storage::StorageError;

/// A refusal or a failure. [`Refusal::reason`] is what the caller is told; the text is for the log and the operator.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request itself is at fault.
    #[error("the CSR is refused: {0}")]
    Csr(#[from] CsrError),
    /// The client, certificate or issuer does not exist.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The object is in a state that forbids it.
    #[error("{0}")]
    Conflict(&'static str),
    /// The CSR bears the name of another registered client.
    #[error("the request bears the name of another client, `{0}`")]
    OtherClient(ClientId),
    /// The CSR asks for a certificate on a key of one of our own CAs (rule P4).
    #[error("the CSR's key is one of our own authorities'")]
    OwnKey,
    /// A fault of ours: what we built does not pass our own lint. Nothing was signed.
    #[error("the lint refuses what was built: {0}")]
    Lint(#[from] LintErrors),
    /// A fault of ours, or of the configuration: nothing can be built from these names and dates.
    #[error("cannot build it: {0}")]
    Build(#[from] BuildError),
    /// The configuration says that our documents are elsewhere than the certificates say. Every list names its own
    /// address (rule R1): one that is made under the new address is not the list that the certificates lead to.
    #[error(
        "the certificates of this installation say that their CRLs are at {carried}, the configuration says {configured}: \
         write `url = \"{carried}\"` on the listener that serves `pki`; another address is for a new installation that has it from its first start"
    )]
    DocumentsMoved {
        /// The address in the certificates.
        carried: String,
        /// The address in the configuration.
        configured: String,
    },
    /// A registered name that no certificate can carry.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The signer returned something that is no signature.
    #[error(transparent)]
    Signature(#[from] SignatureInvalid),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The key could not be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The key could not be opened.
    #[error(transparent)]
    Custody(#[from] CustodyError),
}

impl Refusal {
    /// What the caller is told.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Csr(error) => error.reason(),
            Self::OtherClient(_) => ReasonCode::CsrNameRefused,
            Self::OwnKey => ReasonCode::CsrKeyRefused,
            Self::NotFound(_) => ReasonCode::ObjectNotFound,
            Self::Conflict(_) => ReasonCode::ObjectConflict,
            Self::Storage(error) => error.reason(),
            Self::Lint(_)
            | Self::Build(_)
            | Self::DocumentsMoved { .. }
            | Self::Name(_)
            | Self::Signature(_)
            | Self::Sign(_)
            | Self::Custody(_) => ReasonCode::InternalError,
        }
    }
}
