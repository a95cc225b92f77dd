//! The essential tasks of a server: its workers, their listeners, the tasks that follow the database. If one ends
//! unexpectedly, the server shuts down. Without this, a panic would leave a server that runs on without a listener, or
//! with old revocations.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The essential tasks of one server.
#[derive(Debug, Clone)]
pub struct EssentialTasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stopping: AtomicBool,
    lost: watch::Sender<Option<Cow<'static, str>>>,
}

/// One essential task, until dropped.
#[derive(Debug)]
pub struct EssentialTask {
    name: Cow<'static, str>,
    essential_tasks: EssentialTasks,
}

impl Default for EssentialTasks {
    fn default() -> Self {
        Self(Arc::new(Inner { stopping: AtomicBool::new(false), lost: watch::Sender::new(None) }))
    }
}

impl EssentialTasks {
    /// Registers a task. If it is dropped before [`EssentialTasks::stop`], it counts as lost.
    pub fn begins(&self, name: impl Into<Cow<'static, str>>) -> EssentialTask {
        EssentialTask { name: name.into(), essential_tasks: self.clone() }
    }

    /// Runs `task` as an essential task.
    pub async fn runs<T>(self, name: &'static str, task: impl Future<Output = T>) -> T {
        let _task = self.begins(name);
        task.await
    }

    /// The server stops: from now on essential_tasks may end.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }

    /// Waits for the first task that ends unexpectedly, and returns its name.
    pub async fn lost(&self) -> Cow<'static, str> {
        let mut lost = self.0.lost.subscribe();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(name)) => name.clone(),
            _ => std::future::pending().await, // the sender is with us
        }
    }
}

impl Drop for EssentialTask {
    fn drop(&mut self) {
        let Inner { stopping, lost } = &*self.essential_tasks.0;
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
    async fn the_first_task_that_ends_by_itself_is_told() {
        let essential_tasks = EssentialTasks::default();
        let goes_on = essential_tasks.begins("goes on");
        let panics = tokio::spawn(essential_tasks.clone().runs("a task", async { panic!("on purpose") }));
        let _: Result<(), _> = panics.await;
        drop(essential_tasks.begins("another one"));
        assert_eq!(essential_tasks.lost().await, "a task");
        drop(goes_on);
    }

    #[tokio::test]
    async fn tasks_that_were_told_to_stop_are_not_lost() {
        let essential_tasks = EssentialTasks::default();
        let task = essential_tasks.begins("a worker");
        essential_tasks.stop();
        drop(task);
        let lost = tokio::time::timeout(std::time::Duration::ZERO, essential_tasks.lost()).await;
        assert!(lost.is_err());
    }
}
