//! The authorization server: token endpoint, metadata, token keys.
