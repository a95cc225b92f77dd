//! The first operator: `admin`, with its credential in `admin.token`; and a new credential where that one was lost.

use crate::failure::{Exit, Failure};
use crate::wiring::Installation;
use crate::words::error_chain;
use countersign_keys::file::{create_private, read_private, replace_private};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::operator::{Operator, Role};
use countersign_model::{Reference, Secret};
use countersign_policy::client_auth::secret::{
    former_operator_hmac, generate_operator_token, is_operator_token, operator_hmac,
};
use countersign_storage::{StorageError, Transaction, Write};
use std::path::Path;

/// A token has 53 characters and a line end.
const MAX_TOKEN_BYTES: u64 = 1024;

/// Makes the operator unless the token in `file` is that of one already.
///
/// The file comes before the row: a start that was cut short between the two is completed by the next one. When the file
/// was lost, a new operator with a number behind its name gets a new one.
///
/// A token in the file that is nobody's is taken only where there is no operator yet. Otherwise it may be one that was
/// reset because it leaked, and would administer again.
///
/// # Errors
/// When the file or the database refuses.
pub async fn first_operator(installation: &Installation, file: &Path) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::new(Exit::Refused, format!("{} cannot be used", file.display()))
            .why(why)
            .action("see that only this user can read it: chmod 600")
    };
    let was_there = file.exists();
    let token = match was_there {
        true => {
            let read = read_private(file, MAX_TOKEN_BYTES).map_err(|error| refused(error.to_string()))?;
            let token = Secret::new(String::from_utf8_lossy(read.expose()).trim().to_owned());
            // Anything else would become the credential of an administrator.
            if !is_operator_token(token.expose()) {
                return Err(refused("it holds no operator token".to_owned()).action("move it away"));
            }
            token
        }
        false => {
            let token = generate_operator_token(installation.rng.as_ref());
            create_private(file, line(&token).expose().as_bytes())
                .map_err(|error| refused(error.to_string()))?;
            token
        }
    };
    let token_hmac = operator_hmac(&installation.pepper, token.expose());
    let former = former_operator_hmac(&installation.pepper, token.expose());
    let operators = installation.store.operators().await.map_err(|error| storage(&error))?;
    if let Some(present) =
        operators.iter().find(|it| [Some(token_hmac), former].contains(&Some(it.token_hmac)))
    {
        // Stored under the key of clients' secrets, as it once was, or as it is now: then nothing is changed.
        let (name, from) = (present.name.clone(), present.token_hmac);
        if from != token_hmac {
            let restate = Write::RestateOperatorToken { name, from, to: token_hmac };
            let committed = installation.store.commit(Transaction::new().write(restate)).await;
            committed.map_err(|error| storage(&error))?;
        }
        return Ok(());
    }
    if was_there && !operators.is_empty() {
        let dir = file.parent().unwrap_or(Path::new("."));
        return Err(refused(
            "its token is no operator's: it was reset, or is of another installation".to_owned(),
        )
        .action(format!("make a new one: countersign operator reset-token --dir {}", dir.display())));
    }
    let taken = |name: &String| operators.iter().any(|operator| operator.name == *name);
    let names = std::iter::once("admin".to_owned()).chain((2..).map(|number| format!("admin-{number}")));
    let Some(name) = names.into_iter().find(|name| !taken(name)) else { return Ok(()) };
    let event = event(installation, AuditAction::OperatorAdded, &name);
    let operator =
        Operator { name, role: Role::Admin, token_hmac, enabled: true, created_at: installation.clock.now() };
    let transaction = Transaction::new().write(Write::InsertOperator(operator)).record(event);
    installation.store.commit(transaction).await.map(drop).map_err(|error| storage(&error))
}

/// Gives an operator a new token, in `file`; the one before is refused from then on. The remedy for a token that was
/// lost or leaked.
///
/// The row comes before the file: whatever fails in between, the old token is dead, and the next call makes another one.
///
/// # Errors
/// When there is no such operator, or the file or the database refuses.
pub async fn reset_token(installation: &Installation, name: &str, file: &Path) -> Result<(), Failure> {
    let token = generate_operator_token(installation.rng.as_ref());
    let token_hmac = operator_hmac(&installation.pepper, token.expose());
    let transaction = Transaction::new()
        .write(Write::ReplaceOperatorToken { name: name.to_owned(), token_hmac })
        .record(event(installation, AuditAction::OperatorTokenReset, name));
    installation.store.commit(transaction).await.map_err(|error| match error {
        StorageError::Missing(_) => Failure::new(Exit::NotFound, format!("there is no operator `{name}`"))
            .action("name another with --name"),
        error => storage(&error),
    })?;
    replace_private(file, line(&token).expose().as_bytes()).map_err(|error| {
        Failure::new(Exit::Refused, format!("{} cannot be written", file.display()))
            .why(error_chain(&error))
            .action("make room for it and run this again: the token from before is refused already")
    })
}

fn line(token: &Secret<String>) -> Secret<String> {
    Secret::new(format!("{}\n", token.expose()))
}

fn event(installation: &Installation, action: AuditAction, operator: &str) -> AuditEvent {
    let now = installation.clock.now();
    let facts = Facts { object: Some(operator.to_owned()), ..Facts::default() };
    AuditEvent::done(Reference::generate(now, installation.rng.as_ref()), now, action, Actor::System, facts)
}

/// A storage error, as the command line reports it.
pub fn storage(error: &StorageError) -> Failure {
    Failure::caused(Exit::Refused, "the database refuses", error)
}
