//! The client's side of TLS: the given CA, the given certificate, never a resumed session.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::{RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

type Failure = Box<dyn std::error::Error>;

/// The key exchange that is offered. Named, because the peers' defaults differ: OpenSSL 3.0 has no ML-KEM.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Group {
    /// What both sides of the comparison have
    X25519,
    /// The hybrid that Countersign prefers
    X25519mlkem768,
}

/// The protocol version that is offered.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.3")]
    Tls13,
    #[value(name = "1.2")]
    Tls12,
}

pub(crate) fn client_config(
    ca: &Path,
    identity: Option<(&Path, &Path)>,
    group: Group,
    version: Version,
) -> Result<Arc<ClientConfig>, Failure> {
    let mut provider = default_provider();
    provider.kx_groups = vec![match group {
        Group::X25519 => kx_group::X25519,
        Group::X25519mlkem768 => kx_group::X25519MLKEM768,
    }];
    let versions: &[&SupportedProtocolVersion] = match version {
        Version::Tls13 => &[&version::TLS13],
        Version::Tls12 => &[&version::TLS12],
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?,
        None => builder.with_no_client_auth(),
    };
    // A resumed session would skip the certificate, which is what is being measured.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| named(path, &error))?.collect();
    let found = found.map_err(|error| named(path, &error))?;
    if found.is_empty() { Err(format!("{}: no certificate in it", path.display()).into()) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    format!("{}: {error}", path.display()).into()
}
