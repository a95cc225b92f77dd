//! Who finds the addresses of a name.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Finds the addresses of a name. May block: it runs on a thread of its own.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, with `port`.
    ///
    /// # Errors
    /// `NotFound` if it is certain that there is no such name: addresses that were known are then not used any longer. Any
    /// other kind if no server answers, or not now.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = (host, port).to_socket_addrs();
        found.map(Iterator::collect).map_err(|error| match is_no_such_name(&error.to_string()) {
            true => io::Error::new(io::ErrorKind::NotFound, error),
            false => error,
        })
    }
}

/// Whether an error of getaddrinfo(3) is EAI_NONAME, of which std gives the text only: that of glibc, musl, and BSD. Another
/// text is taken for a failure that passes.
fn is_no_such_name(text: &str) -> bool {
    let texts = [
        "Name or service not known",
        "Name does not resolve",
        "nodename nor servname provided, or not known",
    ];
    texts.iter().any(|end| text.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_resolver_that_does_not_answer() {
        for (text, gone) in [
            ("failed to lookup address information: Name or service not known", true),
            ("failed to lookup address information: Name does not resolve", true),
            ("failed to lookup address information: Temporary failure in name resolution", false),
            ("failed to lookup address information: Try again", false),
            ("failed to lookup address information: Non-recoverable failure in name resolution", false),
            ("failed to lookup address information: No address associated with hostname", false),
        ] {
            assert_eq!(is_no_such_name(text), gone, "{text}");
        }
        // No resolver asks anybody for a name like this.
        let error = SystemResolver.resolve("a..b", 80).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
