//! Registration of clients by operators: add, edit, disable and enable, rotate a secret. The same use cases for the admin API and for
//! whatever sets up an installation. (Registration by clients themselves, RFC 7591, is not there yet.)

use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::client::{
    AuthMethod, Client, ClientChanges, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::text::{TextRefused, check_registration};
use countersign_model::{
    ClientId, CredentialId, Environment, ReasonCode, Reference, Rng, Scopes, Secret, Timestamp,
};
use countersign_policy::client_auth::{Pepper, secret};
use countersign_storage::{Receipt, StorageError, Store, Transaction, Write};

/// What registration works on.
#[derive(Clone, Copy)]
pub struct Registrar<'a> {
    /// Where clients are kept.
    pub store: &'a dyn Store,
    /// What secrets are stored under.
    pub pepper: &'a Pepper,
    /// Makes secrets and identifiers.
    pub rng: &'a dyn Rng,
}

/// A client to be.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// Its `client_id`.
    pub id: ClientId,
    /// The environment it will belong to for ever.
    pub environment: Environment,
    /// The registered name.
    pub name: String,
    /// Where to reach its people.
    pub contacts: Vec<String>,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// What it may ask for.
    pub scopes: Scopes,
    /// The audiences it may ask for; empty: every API that owns one of its scopes.
    pub audiences: Vec<String>,
}

/// Who asks, and under which reference it is recorded.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who.
    pub actor: Actor,
    /// Finds the record.
    pub reference: Reference,
    /// When.
    pub at: Timestamp,
}

/// A secret that was made: shown to its owner once.
#[derive(Debug)]
pub struct NewSecret {
    /// The credential.
    pub credential: CredentialId,
    /// The secret itself.
    pub secret: Secret<String>,
}

/// Why nothing was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// A name, contact or audience that shows something else than it is, or that is too long.
    #[error(transparent)]
    Text(#[from] TextRefused),
    /// The client has no use for a secret.
    #[error("the client authenticates by {0}")]
    NoSecret(AuthMethod),
    /// There is no such client.
    #[error("there is no client {0}")]
    Unknown(ClientId),
    /// The client's secrets have changed since they were read, or the client is disabled.
    #[error(
        "another change of {0} came first, or the client is disabled; run `countersign client show {0}`, then rotate again if needed"
    )]
    Overtaken(ClientId),
    /// The client was disabled, and storage does not know it yet.
    #[error(
        "{0} was disabled and that is not stored yet: it is tried again every few seconds; enable it after that"
    )]
    StillEnding(ClientId),
    /// An edit that changes nothing.
    #[error("nothing to change: give a name, contacts, scopes or audiences")]
    NothingToChange,
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RegistrationError {
    /// What the caller is told.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Text(_) | Self::NothingToChange => ReasonCode::RequestParameterInvalid,
            Self::NoSecret(_) | Self::Overtaken(_) | Self::StillEnding(_) => ReasonCode::ObjectConflict,
            Self::Unknown(_) => ReasonCode::ObjectNotFound,
            Self::Storage(error) => error.reason(),
        }
    }
}

impl Registrar<'_> {
    /// Registers a client. Its secret is made here where its method uses one, unless `secret` brings one that was made by
    /// [`secret::generate`] before.
    ///
    /// # Errors
    /// When a text is refused ([`countersign_model::text`]), the `client_id` is taken, or storage fails.
    pub async fn register(
        &self,
        new: NewClient,
        secret: Option<Secret<String>>,
        order: Order,
    ) -> Result<(Receipt, Option<NewSecret>), RegistrationError> {
        let Order { actor, reference, at } = order;
        check_registration(&new.name, &new.contacts, &new.audiences)?;
        let client = Client {
            id: new.id,
            environment: new.environment,
            name: new.name,
            contacts: new.contacts,
            auth_method: new.auth_method,
            scopes: new.scopes,
            audiences: new.audiences,
            state: ClientState::Active,
            epoch: 0,
            created_at: at,
            updated_at: at,
        };
        let facts = Facts {
            scope: Some(client.scopes.to_string()),
            auth_method: Some(client.auth_method.to_string()),
            ..facts(&client)
        };
        let event = AuditEvent::done(reference, at, AuditAction::ClientAdded, actor, facts);
        let mut transaction = Transaction::new().write(Write::InsertClient(client.clone())).record(event);
        let mut made = None;
        if client.auth_method.uses_secret() {
            let secret = secret.unwrap_or_else(|| secret::generate(self.rng));
            let credential = self.credential(&client.id, &secret, at);
            made = Some(NewSecret { credential: credential.id, secret });
            transaction = transaction.write(Write::InsertCredential(credential));
        }
        Ok((self.store.commit(transaction).await?, made))
    }

    /// Disables a client: its tokens, secrets and certificates are refused from the next request on. Idempotent.
    ///
    /// # Errors
    /// When there is no such client, or storage fails.
    pub async fn disable(&self, client: &ClientId, order: Order) -> Result<Receipt, RegistrationError> {
        let (client, _) = self.find(client).await?;
        let Order { actor, reference, at } = order;
        let event = AuditEvent::done(reference, at, AuditAction::ClientDisabled, actor, facts(&client));
        let write = Write::SetClientState { client: client.id, state: ClientState::Disabled, at };
        Ok(self.store.commit(Transaction::new().write(write).record(event)).await?)
    }

    /// Enables a client: its secrets and certificates that have not ended are accepted again; its tokens from before are not.
    /// Idempotent.
    ///
    /// # Errors
    /// When there is no such client, its disabling waits to be stored, or storage fails.
    pub async fn enable(&self, client: &ClientId, order: Order) -> Result<Receipt, RegistrationError> {
        let (client, _) = self.find(client).await?;
        let Order { actor, reference, at } = order;
        let event = AuditEvent::done(reference, at, AuditAction::ClientEnabled, actor, facts(&client));
        let write = Write::SetClientState { client: client.id.clone(), state: ClientState::Active, at };
        let committed = self.store.commit(Transaction::new().write(write).record(event)).await;
        committed.map_err(|error| match error {
            StorageError::Conflict(_) => RegistrationError::StillEnding(client.id),
            error => error.into(),
        })
    }

    /// Changes the name, contacts, scopes or audiences of a client. What takes a scope or an audience away ends its tokens;
    /// the second part of the answer says whether that happened. The name stands in certificates that are issued later.
    ///
    /// # Errors
    /// When a text is refused, nothing is to be changed, there is no such client, or storage fails.
    pub async fn edit(
        &self,
        client: &ClientId,
        changes: ClientChanges,
        order: Order,
    ) -> Result<(Receipt, bool), RegistrationError> {
        let (before, _) = self.find(client).await?;
        let Order { actor, reference, at } = order;
        if changes == ClientChanges::default() {
            return Err(RegistrationError::NothingToChange);
        }
        check_registration(
            changes.name.as_ref().unwrap_or(&before.name),
            changes.contacts.as_ref().unwrap_or(&before.contacts),
            changes.audiences.as_ref().unwrap_or(&before.audiences),
        )?;
        let facts = Facts {
            scope: changes.scopes.as_ref().map(ToString::to_string),
            detail: Some(changed(&changes)),
            ..facts(&before)
        };
        let event = AuditEvent::done(reference, at, AuditAction::ClientEdited, actor, facts);
        let write = Write::EditClient { client: before.id.clone(), changes, at };
        let receipt = self.store.commit(Transaction::new().write(write).record(event)).await?;
        let (after, _) = self.find(&before.id).await?;
        Ok((receipt, after.epoch != before.epoch))
    }

    /// Makes a new secret beside the present ones, which end at `previous_end_at`; at once, with their tokens, when that
    /// is not in the future (rule C12). Of two rotations at once one succeeds: the other one would hand out a secret that is
    /// dead already, or leave one alive that it was to end.
    ///
    /// # Errors
    /// When there is no such client, it uses no secret, another rotation or its disabling came first, or storage fails.
    pub async fn rotate_secret(
        &self,
        client: &ClientId,
        previous_end_at: Timestamp,
        order: Order,
    ) -> Result<(Receipt, NewSecret), RegistrationError> {
        let (client, credentials) = self.find(client).await?;
        if !client.auth_method.uses_secret() {
            return Err(RegistrationError::NoSecret(client.auth_method));
        }
        let Order { actor, reference, at } = order;
        let secret = secret::generate(self.rng);
        let new = self.credential(&client.id, &secret, at);
        let made = NewSecret { credential: new.id, secret };
        let facts = Facts { credential: Some(made.credential), ..facts(&client) };
        let event = AuditEvent::done(reference, at, AuditAction::ClientSecretRotated, actor, facts);
        let known = credentials.iter().filter(|credential| is_live_secret(credential));
        let replace = Write::ReplaceSecrets {
            new,
            known: known.map(|credential| credential.id).collect(),
            others_end_at: (previous_end_at > at).then_some(previous_end_at),
        };
        let committed = self.store.commit(Transaction::new().write(replace).record(event)).await;
        let receipt = committed.map_err(|error| match error {
            StorageError::Conflict(_) => RegistrationError::Overtaken(client.id),
            StorageError::Missing(_) => RegistrationError::Unknown(client.id),
            error => error.into(),
        })?;
        Ok((receipt, made))
    }

    async fn find(&self, id: &ClientId) -> Result<(Client, Vec<Credential>), RegistrationError> {
        self.store.client(id).await?.ok_or_else(|| RegistrationError::Unknown(id.clone()))
    }

    fn credential(&self, client: &ClientId, secret: &Secret<String>, at: Timestamp) -> Credential {
        let kind = CredentialKind::Secret { hmac: secret::hmac(self.pepper, secret.expose()) };
        Credential::new(CredentialId::generate(at, self.rng), client.clone(), at.date(), kind, at)
    }
}

fn facts(client: &Client) -> Facts {
    Facts { client: Some(client.id.clone()), environment: Some(client.environment), ..Facts::default() }
}

/// What an edit sets, for the record. Contacts are people: the record says that they changed, not whom they name.
fn changed(changes: &ClientChanges) -> String {
    let ClientChanges { name, contacts, scopes, audiences } = changes;
    let list = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(" ") };
    let parts = [
        name.as_ref().map(|name| format!("name: {name}")),
        contacts.as_ref().map(|_| "contacts".to_owned()),
        scopes.as_ref().map(|scopes| format!("scopes: {scopes}")),
        audiences.as_ref().map(|audiences| format!("audiences: {}", list(audiences))),
    ];
    format!("set {}", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn is_live_secret(credential: &Credential) -> bool {
    matches!(credential.kind, CredentialKind::Secret { .. }) && credential.state == CredentialState::Active
}
