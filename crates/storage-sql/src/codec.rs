//! Running statements, and reading rows: columns in the order in which the statement lists them.

use crate::dialect::{Arguments, Connection, Database, Row, storage_error, violation};
use countersign_model::{Serial, Timestamp};
use countersign_storage::StorageError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::error::ErrorKind;
use sqlx::{Decode, Executor, Row as _, Type, ValueRef};
use std::fmt::Display;
use std::str::FromStr;

pub(crate) type Query = sqlx::query::Query<'static, Database, Arguments>;

/// Runs a statement. How many rows it wrote.
pub(crate) async fn execute(connection: &mut Connection, query: Query) -> Result<u64, StorageError> {
    let done = query.execute(connection).await.map_err(storage_error)?;
    Ok(done.rows_affected())
}

/// Runs an insertion of a `what`: `Conflict` when there is one already. The one foreign key of the schema leads to
/// clients.
pub(crate) async fn insert(
    connection: &mut Connection,
    query: Query,
    what: &'static str,
) -> Result<u64, StorageError> {
    match query.execute(connection).await {
        Ok(done) => Ok(done.rows_affected()),
        Err(error) => Err(match violation(&error) {
            Some(ErrorKind::UniqueViolation) => StorageError::Conflict(what),
            Some(_) => StorageError::Missing("client"),
            None => storage_error(error),
        }),
    }
}

pub(crate) async fn fetch_one<'c>(
    executor: impl Executor<'c, Database = Database>,
    query: Query,
) -> Result<Row, StorageError> {
    query.fetch_one(executor).await.map_err(storage_error)
}

pub(crate) async fn fetch_optional<'c>(
    executor: impl Executor<'c, Database = Database>,
    query: Query,
) -> Result<Option<Row>, StorageError> {
    query.fetch_optional(executor).await.map_err(storage_error)
}

/// All rows, each read by `read`.
pub(crate) async fn fetch_all<'c, T>(
    executor: impl Executor<'c, Database = Database>,
    query: Query,
    read: impl Fn(&mut Columns<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let rows = query.fetch_all(executor).await.map_err(storage_error)?;
    rows.iter().map(|row| read(&mut Columns::of(row))).collect()
}

/// The first row, read by `read`.
pub(crate) async fn fetch_first<'c, T>(
    executor: impl Executor<'c, Database = Database>,
    query: Query,
    read: impl Fn(&mut Columns<'_>) -> Result<T, StorageError>,
) -> Result<Option<T>, StorageError> {
    let row = fetch_optional(executor, query).await?;
    row.map(|row| read(&mut Columns::of(&row))).transpose()
}

/// Reads the columns of a row, one after the other.
pub(crate) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(crate) fn of(row: &'r Row) -> Self {
        Self { row, next: 0 }
    }

    fn value<T: Decode<'r, Database> + Type<Database>>(&mut self) -> Result<T, StorageError> {
        let index = self.next;
        self.next += 1;
        self.row.try_get(index).map_err(storage_error)
    }

    /// Whether the next column has no value; does not move on.
    pub(crate) fn at_null(&self) -> Result<bool, StorageError> {
        Ok(self.row.try_get_raw(self.next).map_err(storage_error)?.is_null())
    }

    pub(crate) fn text(&mut self) -> Result<String, StorageError> {
        self.value()
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StorageError> {
        self.value()
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        self.value()
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, StorageError> {
        self.value()
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StorageError> {
        Ok(Timestamp::from_unix_ms(self.value()?))
    }

    pub(crate) fn optional_time(&mut self) -> Result<Option<Timestamp>, StorageError> {
        Ok(self.value::<Option<i64>>()?.map(Timestamp::from_unix_ms))
    }

    /// A number that is never negative.
    pub(crate) fn unsigned<T: TryFrom<i64>>(&mut self) -> Result<T, StorageError> {
        let number: i64 = self.value()?;
        T::try_from(number).map_err(|_| self.corrupt(&"a number is out of its range"))
    }

    /// Octets of a fixed number.
    pub(crate) fn octets<const N: usize>(&mut self) -> Result<[u8; N], StorageError> {
        let bytes: &[u8] = self.value()?;
        bytes.try_into().map_err(|_| self.corrupt(&"octets of another length"))
    }

    pub(crate) fn optional_octets<const N: usize>(&mut self) -> Result<Option<[u8; N]>, StorageError> {
        if self.at_null()? {
            self.next += 1;
            return Ok(None);
        }
        self.octets().map(Some)
    }

    pub(crate) fn serial(&mut self) -> Result<Serial, StorageError> {
        let bytes: &[u8] = self.value()?;
        Serial::from_octets(bytes).ok_or_else(|| self.corrupt(&"not a serial number"))
    }

    pub(crate) fn optional_serial(&mut self) -> Result<Option<Serial>, StorageError> {
        if self.at_null()? {
            self.next += 1;
            return Ok(None);
        }
        self.serial().map(Some)
    }

    /// Text that is the name of something.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self) -> Result<T, StorageError> {
        let text: &str = self.value()?;
        text.parse().map_err(|error| self.corrupt(&error))
    }

    pub(crate) fn optional_parsed<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>, StorageError> {
        if self.at_null()? {
            self.next += 1;
            return Ok(None);
        }
        self.parsed().map(Some)
    }

    /// Text that is one of the names of a closed set.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T, StorageError> {
        let text: &str = self.value()?;
        let found = all.iter().copied().find(|item| name(*item) == text);
        found.ok_or_else(|| self.corrupt(&"a name that this program does not know"))
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, StorageError> {
        let text: &str = self.value()?;
        serde_json::from_str(text).map_err(|error| self.corrupt(&error))
    }

    /// The column that was read last does not have the expected form. Says where, and never what: a row may hold what a
    /// log must not.
    pub(crate) fn corrupt(&self, why: &dyn Display) -> StorageError {
        let column = self.row.columns().get(self.next.saturating_sub(1));
        StorageError::Corrupt(format!("column {}: {why}", column.map_or("?", sqlx::Column::name)))
    }
}

/// A list as a column.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(|error| StorageError::Corrupt(error.to_string()))
}

/// A number as a column. SQL has no unsigned ones; what does not fit does not occur.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn milliseconds(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::unix_ms)
}
