//! The root's certificate in the directory: what callers are given to trust.

use super::Directory;
use super::directory::write_new;
use crate::failure::{Exit, Failure};
use crate::wiring::Installation;
use countersign_model::certificate::IssuerRole;
use countersign_pki::pem;

/// `ca.crt`: what callers trust, the root alone.
///
/// # Errors
/// When there is no root, or the file cannot be written.
pub fn write_root(installation: &Installation, directory: &Directory) -> Result<(), Failure> {
    let path = directory.file("ca.crt");
    if path.exists() {
        return Ok(());
    }
    let roots = installation.ca.trusted(IssuerRole::Root).map_err(|refusal| authority(&refusal))?;
    let certificates: String =
        roots.iter().map(|root| pem::encode(pem::Label::Certificate, &root.certificate)).collect();
    write_new(&path, certificates.as_bytes())
}

/// What the authority refuses, as the command line tells it.
pub fn authority(refusal: &countersign_ca::Refusal) -> Failure {
    Failure::new(Exit::Refused, "the certificate authority refuses").why(refusal.to_string())
}
