//! The register of a worker's open connections: who has how many, and which are cut with whom (rules G14 and G15).

use crate::connection::{Connection, Cut};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The open connections of one worker.
#[derive(Default)]
pub(crate) struct Register {
    open: RefCell<HashMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
    emptied: tokio::sync::Notify,
}

/// Keeps a connection registered until dropped.
pub(crate) struct Registered {
    register: Rc<Register>,
    id: u64,
}

impl Register {
    /// Registers a connection.
    pub(crate) fn add(self: &Rc<Self>, connection: &Rc<Connection>) -> Registered {
        let id = self.next.get();
        self.next.set(id + 1);
        self.open.borrow_mut().insert(id, connection.clone());
        Registered { register: self.clone(), id }
    }

    /// Cuts the connections that `cut` means, and says how many. A walk over all of them: it is done once for each
    /// revocation, and keeps every request free of more than one register.
    pub(crate) fn cut(&self, cut: &Cut) -> usize {
        let open = self.open.borrow();
        open.values().filter(|connection| connection.matches(cut)).map(|connection| connection.cut()).count()
    }

    /// Asks every connection to finish.
    pub(crate) fn finish_all(&self) {
        self.open.borrow().values().for_each(|connection| connection.finish());
    }

    /// Waits until no connection is open.
    pub(crate) async fn empty(&self) {
        while !self.open.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.register.open.borrow_mut();
        open.remove(&self.id);
        if open.is_empty() {
            self.register.emptied.notify_one();
        }
    }
}
