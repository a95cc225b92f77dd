//! A map whose writes can be taken back.

use std::collections::BTreeMap;
use std::ops::Deref;

/// A map that remembers how to take back what was written since the last [`Table::keep`].
///
/// Reads go through `Deref`; writes go through the methods here, and nothing else.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    undo: Vec<(K, Option<V>)>,
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// Writes a row, in the place of the one that has its key.
    pub(super) fn put(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), row);
        self.undo.push((key, before));
    }

    /// Deletes a row. Whether there was one.
    pub(super) fn delete(&mut self, key: &K) -> bool {
        let Some(before) = self.rows.remove(key) else { return false };
        self.undo.push((key.clone(), Some(before)));
        true
    }

    /// Deletes the rows up to and including `last`.
    pub(super) fn delete_through(&mut self, last: &K) {
        while let Some(first) = self.rows.first_entry().filter(|row| row.key() <= last) {
            let (key, before) = first.remove_entry();
            self.undo.push((key, Some(before)));
        }
    }

    /// Makes what was written final.
    pub(super) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was written since the last `keep`, latest first.
    pub(super) fn take_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), undo: Vec::new() }
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;
    fn deref(&self) -> &BTreeMap<K, V> {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut table = Table::default();
        table.put(1, "one");
        table.put(2, "two");
        table.keep();
        let before = table.rows.clone();

        table.put(2, "zwei");
        table.put(2, "deux");
        table.put(3, "three");
        table.delete(&1);
        table.delete_through(&2);
        table.put(1, "un");
        table.take_back();
        assert_eq!(table.rows, before);
    }
}
