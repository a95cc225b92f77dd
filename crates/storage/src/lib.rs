//! Store traits, the in-memory store, the change feed and the views it feeds.
