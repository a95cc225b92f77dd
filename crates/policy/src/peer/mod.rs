//! The other end of a connection, and what is known about it: address, verified certificate, registration.

mod certificate;
mod registry;

pub use certificate::{RegisteredCertificate, check_certificate};
pub use registry::{ClientEntry, Registry};

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_model::Thumbprint;
use countersign_pki::PeerCertificate;
use http::HeaderValue;
use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of a connection. Cheap to clone: every request of the connection holds one.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    certificate: Option<Arc<Presented>>,
}

/// A certificate with what is written of it into every request that goes upstream, worked out once a connection.
#[derive(Debug)]
struct Presented {
    certificate: Arc<PeerCertificate>,
    thumbprint: HeaderValue,
    client_cert: HeaderValue,
}

impl Peer {
    /// The peer at `address`, with the certificate that the handshake of this very connection verified (rule G4).
    pub fn new(address: SocketAddr, certificate: Option<Arc<PeerCertificate>>) -> Self {
        Self { address, certificate: certificate.map(|certificate| Arc::new(Presented::new(certificate))) }
    }

    /// Where it connects from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of the connection.
    pub fn certificate(&self) -> Option<&Arc<PeerCertificate>> {
        self.certificate.as_ref().map(|presented| &presented.certificate)
    }

    /// `x5t#S256` of the certificate (RFC 8705 section 3.1).
    pub fn thumbprint(&self) -> Option<&Thumbprint> {
        self.certificate.as_ref().map(|presented| presented.certificate.thumbprint())
    }

    /// The values of `Countersign-Certificate` and `Client-Cert`.
    pub(crate) fn certificate_headers(&self) -> Option<(&HeaderValue, &HeaderValue)> {
        self.certificate.as_ref().map(|presented| (&presented.thumbprint, &presented.client_cert))
    }
}

impl Presented {
    fn new(certificate: Arc<PeerCertificate>) -> Self {
        // RFC 9440 section 2.2: a byte sequence of RFC 8941 section 3.3.5, base64 with padding between colons.
        let client_cert = format!(":{}:", STANDARD.encode(certificate.der()));
        let header = |text: String| {
            // base64 in either alphabet is made of characters that a field value may have
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
        };
        Self {
            thumbprint: header(certificate.thumbprint().to_string()),
            client_cert: header(client_cert),
            certificate,
        }
    }
}
