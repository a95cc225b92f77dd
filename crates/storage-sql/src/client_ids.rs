//! The identifiers of all clients, read beside a server that may be running: without the lock, and without bringing the
//! schema up to date.

use crate::clients;
use crate::codec::Columns;
use crate::dialect::{self, storage_error};
use countersign_model::ClientId;
use countersign_storage::StorageError;
use sqlx::ConnectOptions;
use std::collections::BTreeSet;
use std::path::Path;

/// Reads them. Nothing is written.
///
/// # Errors
/// When the file is no database of ours or cannot be read.
pub async fn client_ids(database: &Path) -> Result<BTreeSet<ClientId>, StorageError> {
    let mut connection = dialect::beside_others(database).connect().await.map_err(storage_error)?;
    let rows = clients::ids(&mut connection).await.map_err(storage_error)?;
    rows.iter().map(|row| Columns::of(row).parsed()).collect()
}
