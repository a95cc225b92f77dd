//! What people read, made of names, texts and errors. The leaf of this crate: it knows the standard library and the model.

use countersign_model::text::is_deceiving;
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// What an operator understands of an I/O error, without `(os error 2)`.
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not".to_owned(),
        io::ErrorKind::InvalidData => "it is no UTF-8 text".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}

/// What helps against what the system refused: the first I/O error among the error and its causes decides.
pub(crate) fn remedy(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return remedy_of(error);
        }
        next = error.source();
    }
    LOOK_AT_THE_CAUSE
}

/// What helps against a limit of open files that is too low.
pub(crate) const RAISE_OPEN_FILES: &str = "raise the limit of open files: `ulimit -Hn`, LimitNOFILE= of a systemd unit, \
    --ulimit nofile= of a container";

/// What helps where nothing more is known.
pub(crate) const LOOK_AT_THE_CAUSE: &str = "mend what the error names, and run it again";

fn remedy_of(error: &io::Error) -> &'static str {
    // EMFILE and ENFILE have no kind of their own.
    if matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE)) {
        return RAISE_OPEN_FILES;
    }
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "check the path: each directory in it must be there"
        }
        io::ErrorKind::PermissionDenied => "run it as the user that owns the place, or let this user in",
        io::ErrorKind::ReadOnlyFilesystem => "name a place on a file system that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk, or raise the quota"
        }
        io::ErrorKind::AlreadyExists => "move it away, or name another place",
        io::ErrorKind::IsADirectory => "name a file",
        io::ErrorKind::AddrNotAvailable => {
            "name an address of this machine, or 0.0.0.0 or [::] for all of them"
        }
        _ => LOOK_AT_THE_CAUSE,
    }
}

/// An error with its causes, as one line in words: no `(os error 2)`, and no cause that the error before it told already.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<io::Error>() {
            Some(error) => in_words(error),
            None => without_code(&error.to_string()),
        };
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

fn without_code(text: &str) -> String {
    match text.split_once(" (os error ") {
        Some((before, after)) => format!("{before}{}", after.split_once(')').map_or("", |(_, rest)| rest)),
        None => text.to_owned(),
    }
}

/// One line that a terminal may be shown: what others chose must not move the cursor, turn the line or hide in it (rule
/// G11). Data from before such characters were refused may have them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_deceiving(c) { ' ' } else { c }).collect()
}

/// A path as text, for people and for JSON; what is no UTF-8 in it has a substitute.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A line of a file that a terminal may be shown, with all that is in it: the file may come from anywhere, and escape
/// sequences in it are text (rule G11).
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '\t' => "    ".chars().collect::<Vec<_>>(),
            c if c.is_control() => c.escape_default().collect(),
            c => vec![c],
        })
        .collect()
}

/// `a`, `b` and `c`.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The candidate that is closest to `name`, where one is close enough to have been meant.
pub(crate) fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g11_what_is_printed_neither_turns_nor_hides() {
        assert_eq!(printable("a\u{202e}b\u{200b}c\u{1b}[31m\u{e0041}"), "a b c [31m ");
        assert_eq!(printable("Müller 株式会社"), "Müller 株式会社");
    }

    #[test]
    fn a_cause_that_is_known_has_its_own_remedy() {
        for (code, says) in [
            (Errno::ROFS, "can be written"),
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "quota"),
            (Errno::MFILE, "open files"),
            (Errno::NFILE, "open files"),
            (Errno::ACCESS, "let this user in"),
            (Errno::NOENT, "must be there"),
            (Errno::ADDRNOTAVAIL, "an address of this machine"),
        ] {
            let told = remedy(&io::Error::from_raw_os_error(code.raw_os_error()));
            assert!(told.contains(says), "{code:?}: {told}");
        }
    }

    #[test]
    fn the_name_that_was_meant_is_found() {
        let names = ["client_certificate", "clients", "scopes", "token"];
        assert_eq!(similar("client_certficate", names), Some("client_certificate"));
        assert_eq!(similar("scpoes", names), Some("scopes"));
        assert_eq!(similar("tokne", names), Some("token"));
        assert_eq!(similar("path", names), None);
    }

    #[test]
    fn names_are_listed_as_people_do() {
        assert_eq!(list([]), "nothing");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
