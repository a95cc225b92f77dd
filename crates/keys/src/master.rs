//! The master key: 256 bits from which everything at rest is protected. Whoever has it and the database has the keys.
//!
//! As text it is `countersign-master-key-v1:` and base64, so that a leak scanner finds it and a later format differs.
//! What is derived from it (HKDF-SHA-256, RFC 5869) differs by label, so that no derived key tells of another one.

use crate::file::{PrivateFileError, create_private, read_master};
use aws_lc_rs::hkdf;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_model::{Rng, Secret, rng};
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

const PREFIX: &str = "countersign-master-key-v1:";
/// The text has 70 octets and a newline.
const FILE_LIMIT_BYTES: u64 = 1024;

/// The master key. Not `Clone`, never printed, wiped when dropped.
pub struct MasterKey(Secret<[u8; 32]>);

/// A text or a file that gives no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is something else.
    #[error("this is no master key: expected `{PREFIX}` and 44 characters of base64 on one line")]
    Malformed,
    /// The file cannot be used.
    #[error("the master key's file cannot be used")]
    File(#[from] PrivateFileError),
}

impl MasterKey {
    /// A new one.
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(Secret::new(rng::random(rng)))
    }

    /// Reads the text form; one line end after it is allowed.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`]; the error never repeats the text.
    pub fn from_text(text: &str) -> Result<Self, MasterKeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let encoded = line.strip_prefix(PREFIX).ok_or(MasterKeyError::Malformed)?;
        let decoded = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| MasterKeyError::Malformed)?);
        let key = <[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| MasterKeyError::Malformed)?;
        Ok(Self(Secret::new(key)))
    }

    /// The text form, without a line end.
    pub fn to_text(&self) -> Secret<String> {
        let mut text = String::with_capacity(PREFIX.len() + 44);
        text.push_str(PREFIX);
        STANDARD.encode_string(self.0.expose(), &mut text);
        Secret::new(text)
    }

    /// Reads it from a file. Says whether a group of this process may read the file, which its owner should know.
    ///
    /// # Errors
    /// Refuses a file that anybody else may read or that a group may change, and one that holds something else.
    pub fn read_file(path: &Path) -> Result<(Self, bool), MasterKeyError> {
        let (content, is_open_to_group) = read_master(path, FILE_LIMIT_BYTES)?;
        let text = std::str::from_utf8(content.expose()).map_err(|_| MasterKeyError::Malformed)?;
        Ok((Self::from_text(text)?, is_open_to_group))
    }

    /// Writes it to a new file of mode 0600, which is on disk when this returns.
    ///
    /// # Errors
    /// Refuses to overwrite: the old key may be the only one that opens a database.
    pub fn create_file(&self, path: &Path) -> Result<(), MasterKeyError> {
        let text = self.to_text();
        // With room for all of it: a string that grows leaves a copy behind that nobody wipes.
        let mut line = String::with_capacity(text.expose().len() + 1);
        line.push_str(text.expose());
        line.push('\n');
        let line = Secret::new(line);
        Ok(create_private(path, line.expose().as_bytes())?)
    }

    /// `N` octets for the use named by `label`.
    pub(crate) fn derive<const N: usize>(&self, label: &str) -> Secret<[u8; N]> {
        let mut derived = [0; N];
        expand(self.0.expose(), label, &mut derived);
        let secret = Secret::new(derived);
        zeroize::Zeroize::zeroize(&mut derived);
        secret
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[expect(
    clippy::expect_used,
    reason = "HKDF fails only above 255 hash lengths of output; we ask for one at most"
)]
fn expand(key: &[u8; 32], label: &str, derived: &mut [u8]) {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, b"countersign master key v1").extract(key);
    let info = [label.as_bytes()];
    let output = pseudorandom.expand(&info, Length(derived.len())).expect("a short output");
    output.fill(derived).expect("the length that was asked for");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRng;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_master_key_round_trips_through_its_text() {
        let key = MasterKey::generate(&SystemRng);
        let text = key.to_text();
        assert!(text.expose().starts_with("countersign-master-key-v1:"));
        for ending in ["", "\n", "\r\n"] {
            let again = MasterKey::from_text(&format!("{}{ending}", text.expose())).unwrap();
            assert_eq!(again.0.expose(), key.0.expose(), "{ending:?}");
        }
    }

    #[test]
    fn what_is_no_master_key_is_refused_and_not_repeated() {
        let good = MasterKey::generate(&SystemRng).to_text();
        let good = good.expose().as_str();
        let other_version = good.replace("-v1:", "-v2:");
        let cases = ["", "countersign-master-key-v1:", &good[..good.len() - 4], &other_version, &good[26..]];
        let surrounded =
            [format!(" {good}"), format!("{good}\n\n"), format!("{good} "), format!("{good}AAAA")];
        for bad in cases.into_iter().chain(surrounded.iter().map(String::as_str)) {
            let error = MasterKey::from_text(bad).unwrap_err();
            assert!(matches!(error, MasterKeyError::Malformed), "{bad:?}");
            assert!(bad.len() < 30 || !error.to_string().contains(&bad[27..]));
        }
    }

    #[test]
    fn invariant_4_a_master_key_is_not_printed() {
        let key = MasterKey::generate(&SystemRng);
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
        assert_eq!(format!("{:?}", key.to_text()), "Secret(…)");
    }

    #[test]
    fn a_master_key_file_is_private_and_opens_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let key = MasterKey::generate(&SystemRng);
        key.create_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let (read, is_open_to_group) = MasterKey::read_file(&path).unwrap();
        assert_eq!((read.0.expose(), is_open_to_group), (key.0.expose(), false));
        let again = MasterKey::generate(&SystemRng).create_file(&path);
        assert!(matches!(again, Err(MasterKeyError::File(PrivateFileError::Exists { .. }))));
    }

    /// As the `fsGroup` of a pod in Kubernetes has it.
    #[test]
    #[expect(clippy::print_stderr, reason = "says which part was skipped, and what it needs")]
    fn a_master_key_that_only_a_group_of_the_process_may_read_is_taken_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let key = MasterKey::generate(&SystemRng);
        key.create_file(&path).unwrap();
        for (mode, is_taken) in [
            (0o440, true),
            (0o640, true),
            (0o660, false),
            (0o650, false),
            (0o644, false),
            (0o604, false),
            (0o444, false),
            (0o641, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match MasterKey::read_file(&path) {
                Ok((read, true)) if is_taken => assert_eq!(read.0.expose(), key.0.expose(), "{mode:o}"),
                Err(MasterKeyError::File(PrivateFileError::OpenToOthers { .. })) if !is_taken => {}
                other => panic!("{mode:o}: {other:?}"),
            }
        }
        // Another group than ours. Only root can give a file to one.
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
            std::os::unix::fs::chown(&path, None, Some(54_321)).unwrap();
            assert!(MasterKey::read_file(&path).is_err());
        } else {
            eprintln!("skipped: another group's file needs root");
        }
    }

    #[test]
    fn derived_keys_differ_by_label_and_by_master() {
        let (one, two) = (MasterKey::generate(&SystemRng), MasterKey::generate(&SystemRng));
        let a = one.derive::<32>("a");
        assert_eq!(a.expose(), one.derive::<32>("a").expose());
        assert_ne!(a.expose(), one.derive::<32>("b").expose());
        assert_ne!(a.expose(), two.derive::<32>("a").expose());
        assert_ne!(a.expose(), one.0.expose());
    }
}
