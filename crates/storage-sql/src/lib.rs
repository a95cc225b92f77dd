//! SQLite behind the store traits.
