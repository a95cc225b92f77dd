//! The first operator: `admin`, with its credential in `admin.token`.

use crate::cli::{Exit, Failure};
use crate::wiring::Installation;
use countersign_keys::file::{create_private, read_private};
use countersign_model::Secret;
use countersign_model::operator::{Operator, Role};
use countersign_policy::client_auth::secret::{generate_operator_token, hmac};
use countersign_storage::{StorageError, Transaction, Write};
use std::path::Path;

/// A token has 53 characters and a line end.
const MAX_TOKEN_BYTES: u64 = 1024;

/// Makes the operator unless the token in `file` is that of one already.
///
/// The file comes before the row: a start that was cut short between the two is completed by the next one. When the file
/// was lost, a new operator with a number behind its name gets a new one.
///
/// # Errors
/// When the file or the database refuses.
pub async fn first_operator(installation: &Installation, file: &Path) -> Result<(), Failure> {
    let refused =
        |why: String| Failure::new(Exit::Refused, format!("{} cannot be used", file.display())).why(why);
    let token = match file.exists() {
        true => {
            let read = read_private(file, MAX_TOKEN_BYTES).map_err(|error| refused(error.to_string()))?;
            Secret::new(String::from_utf8_lossy(read.expose()).trim().to_owned())
        }
        false => {
            let token = generate_operator_token(installation.rng.as_ref());
            let line = Secret::new(format!("{}\n", token.expose()));
            create_private(file, line.expose().as_bytes()).map_err(|error| refused(error.to_string()))?;
            token
        }
    };
    let token_hmac = hmac(&installation.pepper, token.expose());
    let operators = installation.store.operators().await.map_err(|error| storage(&error))?;
    if operators.iter().any(|operator| operator.token_hmac == token_hmac) {
        return Ok(());
    }
    let taken = |name: &String| operators.iter().any(|operator| operator.name == *name);
    let names = std::iter::once("admin".to_owned()).chain((2..).map(|number| format!("admin-{number}")));
    let Some(name) = names.into_iter().find(|name| !taken(name)) else { return Ok(()) };
    let operator =
        Operator { name, role: Role::Admin, token_hmac, enabled: true, created_at: installation.clock.now() };
    let transaction = Transaction::new().write(Write::InsertOperator(operator));
    installation.store.commit(transaction).await.map(drop).map_err(|error| storage(&error))
}

/// What storage suffers from, as the command line tells it.
pub fn storage(error: &StorageError) -> Failure {
    Failure::new(Exit::Refused, "the database refuses").why(error.to_string())
}
