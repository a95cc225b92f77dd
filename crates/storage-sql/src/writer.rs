//! The one writer: a task that owns the one connection that writes.
//!
//! Transactions arrive closed, so it takes all that are waiting (up to [`GROUP`]) into one database transaction: one
//! sync to disk for all of them, and an answer to each after it. When a group fails, whatever the reason, it is rolled
//! back and each of its transactions is committed by itself: the one that is to blame answers its error, the others go
//! on. Only where not even the database transaction begins, because a foreign program holds the lock or the file is gone, all are told so at
//! once: each by itself would wait for the same lock anew. Nobody is ever worse off than without groups, a full disk or a
//! broken statement cannot leave half a group, and no transaction pays for a savepoint.

use crate::apply::apply;
use crate::audit::insert_event;
use crate::changes::{self, Counters, insert_change};
use crate::codec::{Columns, execute, fetch_one};
use crate::dialect::{
    BEGIN, CHECKPOINT, Connection, FOREIGN_KEYS, JOURNAL_MODE, MAX_PAGE_COUNT, SYNCHRONOUS, storage_error,
};
use crate::exclusive::Exclusive;
use crate::in_place::DatabaseFiles;
use countersign_model::Clock;
use countersign_storage::{Receipt, StorageError, Transaction, Write};
use sqlx::Connection as _;
use std::slice;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// How many transactions share a sync to disk at most.
const GROUP: usize = 64;
/// How many may wait; who comes then waits before the queue.
const QUEUE: usize = 1024;

/// How the writer's connection is set up, as the engine itself tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSettings {
    /// `wal`.
    pub journal_mode: String,
    /// 2 is `FULL`: a sync at every commit.
    pub synchronous: i64,
    /// Whether references are enforced.
    pub foreign_keys: bool,
    /// How many pages the database may have.
    pub max_page_count: i64,
}

type Answer<T> = oneshot::Sender<Result<T, StorageError>>;

enum Request {
    Commit(Transaction, Answer<Receipt>),
    Settings(Answer<WriterSettings>),
    Close(Answer<()>),
}

/// Why a group was not committed.
enum Failed {
    /// The database transaction did not begin: nobody of the group is to blame.
    Begin(StorageError),
    /// A transaction, or the commit of all of them.
    Within(StorageError),
}

impl From<StorageError> for Failed {
    fn from(error: StorageError) -> Self {
        Self::Within(error)
    }
}

impl From<Failed> for StorageError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Begin(error) | Failed::Within(error) => error,
        }
    }
}

/// The writer's end that callers hold.
pub(crate) struct WriterHandle {
    requests: mpsc::Sender<Request>,
}

impl WriterHandle {
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        self.ask(|answer| Request::Commit(transaction, answer)).await
    }

    pub(crate) async fn settings(&self) -> Result<WriterSettings, StorageError> {
        self.ask(Request::Settings).await
    }

    /// Commits what came before, and ends the writer.
    pub(crate) async fn close(&self) -> Result<(), StorageError> {
        self.ask(Request::Close).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, StorageError> {
        let stopped = || StorageError::Unavailable("the writer has stopped".to_owned());
        let (answer, outcome) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

/// What the task owns.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) counters: Counters,
    pub(crate) last_change: watch::Sender<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: DatabaseFiles,
    /// Let go of after the connection is closed.
    pub(crate) exclusive: Exclusive,
}

impl Writer {
    /// Starts the task. It ends when it is closed, or when the last handle is dropped.
    pub(crate) fn start(self) -> WriterHandle {
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(self.run(queue));
        WriterHandle { requests }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(GROUP);
        let mut closing = None;
        while closing.is_none() && queue.recv_many(&mut waiting, GROUP).await > 0 {
            let mut group = Vec::with_capacity(waiting.len());
            for request in waiting.drain(..) {
                match request {
                    Request::Commit(transaction, answer) => group.push((transaction, answer)),
                    Request::Settings(answer) => drop(answer.send(self.settings().await)),
                    Request::Close(answer) => closing = Some(answer),
                }
            }
            self.commit_group(group).await;
        }
        // From here on whoever commits is told that the writer has stopped.
        drop(queue);
        let outcome = self.end().await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the database was not closed in order; it will be recovered when it is opened");
        }
        if let Some(answer) = closing {
            let _ = answer.send(outcome);
        }
    }

    async fn end(self) -> Result<(), StorageError> {
        let Self { mut connection, exclusive, .. } = self;
        let checkpoint = execute(&mut connection, sqlx::query(CHECKPOINT)).await;
        let closed = connection.close().await.map_err(storage_error);
        drop(exclusive);
        checkpoint.and(closed)
    }

    async fn commit_group(&mut self, group: Vec<(Transaction, Answer<Receipt>)>) {
        let (transactions, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        match self.commit(&transactions).await {
            Ok(receipts) => {
                for (answer, receipt) in answers.into_iter().zip(receipts) {
                    let _ = answer.send(Ok(receipt)); // Who does not wait for it does not need it.
                }
            }
            Err(Failed::Begin(error)) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
            Err(Failed::Within(error)) if transactions.len() == 1 => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
            Err(Failed::Within(_)) => {
                for (transaction, answer) in transactions.iter().zip(answers) {
                    let outcome = self.commit(slice::from_ref(transaction)).await;
                    let _ = answer.send(outcome.map(|receipts| receipts[0]).map_err(StorageError::from));
                }
            }
        }
    }

    /// Commits all of them, or nothing. A receipt for each.
    async fn commit(&mut self, transactions: &[Transaction]) -> Result<Vec<Receipt>, Failed> {
        if transactions.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.counters;
        let outcome = self.write(transactions, before).await;
        if outcome.is_err() {
            self.counters = before;
            // Some errors have rolled back already, and then there is nothing to roll back.
            let _ = execute(&mut self.connection, sqlx::query("ROLLBACK")).await;
        } else if self.counters.change != before.change {
            self.last_change.send_replace(self.counters.change);
        }
        outcome
    }

    async fn write(
        &mut self,
        transactions: &[Transaction],
        before: Counters,
    ) -> Result<Vec<Receipt>, Failed> {
        self.files.require_in_place().map_err(Failed::Begin)?;
        let now = self.clock.now();
        let connection = &mut self.connection;
        execute(connection, sqlx::query(BEGIN)).await.map_err(Failed::Begin)?;
        let mut receipts = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            for write in &transaction.writes {
                if let Write::NumberEventsAfter(number) = write {
                    self.counters.event = self.counters.event.max(*number);
                }
                if let Some(subject) = apply(connection, write).await? {
                    self.counters.change += 1;
                    insert_change(connection, self.counters.change, now, &subject).await?;
                }
            }
            for event in &transaction.events {
                self.counters.event += 1;
                insert_event(connection, self.counters.event, event).await?;
            }
            receipts.push(Receipt { sequence: self.counters.change });
        }
        if self.counters != before {
            changes::save_counters(connection, self.counters).await?;
        }
        execute(connection, sqlx::query("COMMIT")).await?;
        Ok(receipts)
    }

    pub(crate) async fn settings(&mut self) -> Result<WriterSettings, StorageError> {
        let connection = &mut self.connection;
        let mut row = fetch_one(&mut *connection, sqlx::query(JOURNAL_MODE)).await?;
        let journal_mode = Columns::of(&row).text()?;
        row = fetch_one(&mut *connection, sqlx::query(SYNCHRONOUS)).await?;
        let synchronous = Columns::of(&row).unsigned()?;
        row = fetch_one(&mut *connection, sqlx::query(FOREIGN_KEYS)).await?;
        let foreign_keys = Columns::of(&row).boolean()?;
        row = fetch_one(&mut *connection, sqlx::query(MAX_PAGE_COUNT)).await?;
        let max_page_count = Columns::of(&row).unsigned()?;
        Ok(WriterSettings { journal_mode, synchronous, foreign_keys, max_page_count })
    }
}
