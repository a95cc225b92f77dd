//! The essential tasks of a server: its workers, their listeners, the tasks that follow the database. If one ends
//! unexpectedly, the server shuts down. Without this, a panic would leave a server that runs on without a listener, or
//! with old revocations.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The essential tasks of one server.
#[derive(Debug, Clone)]
pub struct Parts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stopping: AtomicBool,
    lost: watch::Sender<Option<Cow<'static, str>>>,
}

/// One part, until dropped.
#[derive(Debug)]
pub struct Part {
    name: Cow<'static, str>,
    parts: Parts,
}

impl Default for Parts {
    fn default() -> Self {
        Self(Arc::new(Inner { stopping: AtomicBool::new(false), lost: watch::Sender::new(None) }))
    }
}

impl Parts {
    /// Registers a part. If it is dropped before [`Parts::stop`], it counts as lost.
    pub fn begins(&self, name: impl Into<Cow<'static, str>>) -> Part {
        Part { name: name.into(), parts: self.clone() }
    }

    /// A part that is a task.
    pub async fn runs<T>(self, name: &'static str, task: impl Future<Output = T>) -> T {
        let _part = self.begins(name);
        task.await
    }

    /// The server stops: from now on parts may end.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }

    /// Waits for the first part that ends unexpectedly, and returns its name.
    pub async fn lost(&self) -> Cow<'static, str> {
        let mut lost = self.0.lost.subscribe();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(name)) => name.clone(),
            _ => std::future::pending().await, // the sender is with us
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Inner { stopping, lost } = &*self.parts.0;
        if !stopping.load(Ordering::SeqCst) {
            let name = std::mem::take(&mut self.name);
            lost.send_if_modified(|first| {
                let is_first = first.is_none();
                if is_first {
                    *first = Some(name);
                }
                is_first
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_part_that_ends_by_itself_is_told() {
        let parts = Parts::default();
        let goes_on = parts.begins("goes on");
        let panics = tokio::spawn(parts.clone().runs("a task", async { panic!("on purpose") }));
        let _: Result<(), _> = panics.await;
        drop(parts.begins("another one"));
        assert_eq!(parts.lost().await, "a task");
        drop(goes_on);
    }

    #[tokio::test]
    async fn parts_that_were_told_to_stop_are_not_lost() {
        let parts = Parts::default();
        let part = parts.begins("a worker");
        parts.stop();
        drop(part);
        let lost = tokio::time::timeout(std::time::Duration::ZERO, parts.lost()).await;
        assert!(lost.is_err());
    }
}
