//! What a decision must know of clients and revocations: a port, answered from memory.

use countersign_model::certificate::RevocationReason;
use countersign_model::client::{Client, Credential, CredentialState};
use countersign_model::{ClientId, CredentialId, Serial, Timestamp};
use countersign_pki::PeerCertificate;
use countersign_token::TokenEpoch;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client with all its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientEntry {
    /// The client.
    pub client: Client,
    /// Its credentials, revoked and expired ones too: their absence would look like a token of an unknown credential.
    pub credentials: Vec<Credential>,
}

impl ClientEntry {
    /// The credential with this identifier.
    pub fn credential(&self, id: CredentialId) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.id == id)
    }

    /// Whether there may be calls that are not good any more. Of most clients nothing was ever ended, and when they change
    /// nobody needs to look for streams.
    pub fn has_ended_any(&self) -> bool {
        let ended =
            |credential: &Credential| credential.epoch > 0 || credential.state == CredentialState::Revoked;
        self.client.epoch > 0 || self.credentials.iter().any(ended)
    }

    /// Why a call of the client is not good any more, and a stream that it began ends with it (rule G14): its credential
    /// is gone or revoked, or the tokens of credential or client were ended. `epoch` is that of its token, if it has one.
    /// Epochs are compared and not `iat`, which ties within a second.
    pub fn ended(&self, credential: CredentialId, epoch: Option<TokenEpoch>) -> Option<&'static str> {
        let Some(credential) = self.credential(credential) else {
            return Some("its credential does not exist");
        };
        if epoch.is_some_and(|epoch| epoch.client < self.client.epoch) {
            return Some("the tokens of its client were ended");
        }
        if credential.state == CredentialState::Revoked
            || epoch.is_some_and(|epoch| epoch.credential < credential.epoch)
        {
            return Some("the tokens of its credential were ended");
        }
        None
    }
}

/// The registered clients and what was revoked, as of now. Asked on every request, so it answers from memory
/// (rule G14) and never blocks.
pub trait Registry: Send + Sync {
    /// The client with this `client_id`, disabled ones too.
    fn client(&self, id: &ClientId) -> Option<Arc<ClientEntry>>;

    /// The client that one of the certificate's names is registered to. Whether the credential is accepted now is not
    /// asked here: [`super::check_certificate`] does that.
    fn client_of_certificate(&self, certificate: &PeerCertificate) -> Option<ClientId>;

    /// Why the certificate was revoked; `None` when it was not. By issuer key and serial, never by name (rule T7).
    fn revocation(&self, issuer_key_hash: &[u8; 32], serial: &Serial) -> Option<RevocationReason>;

    /// How long ago all of this was known to be up to date (rule G16). Zero for a registry that is always so.
    ///
    /// Both clocks have a say: `now` may be set back, and would hide how long nothing was heard of; `instant`, which
    /// nobody sets, stands still while the machine sleeps.
    fn age(&self, now: Timestamp, instant: Instant) -> Duration {
        let _ = (now, instant);
        Duration::ZERO
    }
}
