//! How much one connection may send (rule G15).

/// What one connection may send. The defaults are safe for an API; each is a setting (rule G15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingLimits {
    /// Bytes of a message's head, request line included. Default 32 KiB: a token of 8 KiB and a certificate header fit.
    /// At most [`MAX_HEAD_BYTES`].
    pub head_bytes: usize,
    /// Fields of a head. Default 100, at most [`MAX_HEADER_COUNT`].
    pub header_count: usize,
    /// Bytes of a body, without its chunk framing. Default 10 MiB.
    pub body_bytes: u64,
    /// Bytes of a body's chunk extensions and trailer fields together. Default 8 KiB, at most
    /// [`MAX_CHUNK_OVERHEAD_BYTES`].
    pub chunk_overhead_bytes: usize,
    /// Where HTTP/1.0 is answered. Default: nowhere.
    pub http_1_0: Http10,
}

/// Where HTTP/1.0 is answered. OpenSSL's own client, dirmngr and old appliances fetch CRLs with nothing else, and old monitors
/// ask for health. Nothing of it is ever forwarded, so that no upstream can disagree about its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http10 {
    /// Nowhere.
    Nowhere,
    /// On these paths.
    Paths(&'static [&'static str]),
    /// On the whole listener.
    Everywhere,
}

impl Http10 {
    /// Whether a request for this target is answered.
    pub(super) fn admits(self, target: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Paths(paths) => paths.contains(&target),
            Self::Everywhere => true,
        }
    }
}

/// The largest head: hyper refuses a target of 64 KiB by itself, and then without a word.
pub const MAX_HEAD_BYTES: usize = 60 * 1024;
/// The most fields of a head that are ever read.
pub const MAX_HEADER_COUNT: usize = 256;
/// The most chunk extensions and trailer fields: hyper ends a body at 16 KiB of either by itself.
pub const MAX_CHUNK_OVERHEAD_BYTES: usize = 15 * 1024;

impl Default for FramingLimits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            header_count: 100,
            body_bytes: 10 * 1024 * 1024,
            chunk_overhead_bytes: 8 * 1024,
            http_1_0: Http10::Nowhere,
        }
    }
}
