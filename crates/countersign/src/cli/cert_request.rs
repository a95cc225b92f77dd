//! `countersign cert request`: a key and a signing request, made where the partner is (rule P8). Nothing leaves this
//! machine but what the partner sends.

use super::console::Console;
use crate::failure::{Exit, Failure};
use crate::setup::directory::write_new;
use crate::words::shown;
use clap::Args;
use countersign_keys::file::{PrivateFileError, create_private};
use countersign_keys::{CustodyError, PortableKey};
use countersign_model::ClientId;
use countersign_pki::{assemble_csr, csr_info_to_sign};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The client_id that the operator registered
    client: ClientId,
    /// The directory for CLIENT.key and CLIENT.csr; default: the present one
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

impl Request {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let out_dir = self.out_dir.unwrap_or_default();
        let key_file = out_dir.join(format!("{}.key", self.client));
        let csr_file = out_dir.join(format!("{}.csr", self.client));
        make(&self.client, &key_file, &csr_file)?;
        console.answer(&json!({ "client_id": self.client, "key_file": shown(&key_file), "csr_file": shown(&csr_file) }), || {
            format!(
                "key      {}  (it stays here; nobody else ever needs it)\nrequest  {}\nnext: send the request to the operator, who signs it with\n      \
                 countersign cert sign {} --client {}\n",
                key_file.display(),
                csr_file.display(),
                csr_file.file_name().unwrap_or_default().display(),
                self.client
            )
        })
    }
}

/// Makes a P-256 key and its signing request. Neither file is overwritten: a key that is lost cannot be made again.
fn make(client: &ClientId, key_file: &Path, csr_file: &Path) -> Result<(), Failure> {
    for file in [key_file, csr_file] {
        if file.symlink_metadata().is_ok() {
            let failure = Failure::new(Exit::Refused, format!("{} exists already", file.display()));
            return Err(failure
                .why("nothing is overwritten")
                .action("choose another directory with --out-dir"));
        }
    }
    let unmade = |why: String| {
        Failure::new(Exit::Refused, "the key cannot be made")
            .why(why)
            .action("run it again, and report it if it fails again")
    };
    let library = |error: CustodyError| unmade(error.to_string());
    let key = PortableKey::generate().map_err(library)?;
    let info =
        csr_info_to_sign(client.as_str(), key.public_key()).map_err(|error| unmade(error.to_string()))?;
    let signature = key.sign(&info).map_err(library)?;
    let csr = assemble_csr(&info, &signature).map_err(|error| unmade(error.to_string()))?;
    let pem = key.to_pem().map_err(library)?;
    create_private(key_file, pem.expose().as_bytes()).map_err(|error| match &error {
        PrivateFileError::Write { source, .. } => Failure::file("written", key_file, source),
        _ => Failure::caused(Exit::Refused, format!("{} cannot be written", key_file.display()), &error),
    })?;
    write_new(csr_file, csr.as_bytes()).inspect_err(|_| {
        // A key that was made this moment is worth nothing without its request, and would stand in the way of the next try.
        let _ = std::fs::remove_file(key_file);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_pki::Csr;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn rule_p8_key_and_request_are_made_here_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (key, csr) = (directory.path().join("a.key"), directory.path().join("a.csr"));
        let client: ClientId = "acme-pay".parse().unwrap();
        make(&client, &key, &csr).unwrap();
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        Csr::parse(&std::fs::read(&csr).unwrap()).unwrap();

        let before = std::fs::read(&key).unwrap();
        assert_eq!(make(&client, &key, &csr).unwrap_err().exit, Exit::Refused);
        std::fs::remove_file(&csr).unwrap();
        assert_eq!(make(&client, &key, &csr).unwrap_err().exit, Exit::Refused);
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }

    #[test]
    fn a_key_whose_request_cannot_be_written_does_not_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (key, csr) = (directory.path().join("a.key"), directory.path().join("nowhere/a.csr"));
        let client: ClientId = "acme-pay".parse().unwrap();
        assert!(make(&client, &key, &csr).unwrap_err().what.contains("a.csr cannot be written"));
        std::fs::create_dir(directory.path().join("nowhere")).unwrap();
        make(&client, &key, &csr).unwrap();
    }
}
