//! The whole server in process, for tests.
