//! How a command ends: an exit code, and at most three lines that say what failed, why, and what to do.

use crate::words::{LOOK_AT_THE_CAUSE, error_chain, in_words, printable, remedy};
use countersign_api::admin::shapes::Problem;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The request was refused, or it failed.
    Refused = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The server could not be reached.
    Unreachable = 3,
    /// The credential is missing, wrong, or not enough.
    NotAllowed = 4,
    /// What was asked for does not exist.
    NotFound = 5,
}

/// What `--help` says about them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused or failed
  2  wrong usage
  3  the server is not reachable
  4  not allowed: the credential is missing, wrong, or not enough
  5  not found";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not do what it was asked to. Boxed texts: it is the error of nearly every function here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed.
    pub what: String,
    /// Why.
    pub why: Option<Box<str>>,
    /// What to do.
    pub action: Option<Box<str>>,
    /// The reason code, where a server said one.
    pub code: Option<Box<str>>,
    /// Finds the full story: `countersign audit show REF`.
    pub reference: Option<Box<str>>,
    /// Text of its own that is shown as it is, such as the mistakes of a configuration.
    pub shown: Option<Box<str>>,
    /// The same for programs: a list, one object for each mistake.
    pub mistakes: Option<Box<serde_json::Value>>,
}

impl Failure {
    /// A failure with nothing known but what failed.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            why: None,
            action: None,
            code: None,
            reference: None,
            shown: None,
            mistakes: None,
        }
    }

    /// Adds why.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into().into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into().into());
        self
    }

    /// A failure with its cause: why is what the error and its causes say, and what to do follows from them.
    pub fn caused(exit: Exit, what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(exit, what).why(error_chain(error)).action(remedy(error))
    }

    /// A file that could not be read, written or made.
    pub fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Refused };
        Self::new(exit, format!("{} cannot be {verb}", path.display()))
            .why(in_words(error))
            .action(remedy(error))
    }

    /// A directory that could not be made. `/proc` and `/sys` say of a new name that it does not exist, although its parent does.
    pub(crate) fn no_directory(path: &Path, error: &io::Error) -> Self {
        let failure = Self::file("made", path, error);
        if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) {
            return failure
                .why("the file system there takes no new directories")
                .action("name a place on a disk");
        }
        failure
    }

    /// What the admin API refused.
    pub(crate) fn problem(status: u16, problem: Problem) -> Self {
        let exit = match status {
            401 | 403 => Exit::NotAllowed,
            404 => Exit::NotFound,
            _ => Exit::Refused,
        };
        let what =
            if problem.title.is_empty() { format!("the server answered {status}") } else { problem.title };
        let some = |text: String| Some(text.into_boxed_str()).filter(|text| !text.is_empty());
        Self {
            exit,
            what,
            why: some(problem.detail),
            action: some(problem.action),
            code: some(problem.code),
            reference: problem.reference.map(|reference| reference.to_string().into()),
            shown: None,
            mistakes: None,
        }
    }

    /// For people: three lines at most.
    pub fn human(&self) -> String {
        if let Some(shown) = &self.shown {
            return shown.to_string();
        }
        let mut out = format!("error: {}", printable(&self.what));
        if let Some(code) = &self.code {
            let _ = write!(out, " ({})", printable(code));
        }
        out.push('\n');
        if let Some(why) = &self.why {
            let _ = writeln!(out, "  why: {}", printable(why));
        }
        match (&self.action, &self.reference) {
            (Some(action), Some(reference)) => {
                let _ = writeln!(out, "  do:  {} (ref {})", printable(action), printable(reference));
            }
            (Some(action), None) => {
                let _ = writeln!(out, "  do:  {}", printable(action));
            }
            (None, Some(reference)) => {
                let _ = writeln!(out, "  do:  countersign audit show {}", printable(reference));
            }
            (None, None) => {
                let _ = writeln!(out, "  do:  {}", LOOK_AT_THE_CAUSE);
            }
        }
        out
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let mut error = serde_json::json!({
            "exit": self.exit as u8,
            "message": self.what,
            "reason": self.why,
            "action": self.action.as_deref().or(self.reference.is_none().then_some(LOOK_AT_THE_CAUSE)),
            "code": self.code,
            "ref": self.reference,
        });
        if let Some(mistakes) = &self.mistakes {
            error["mistakes"] = mistakes.as_ref().clone();
        }
        serde_json::json!({ "error": error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_three_lines_at_most() {
        let problem = Problem {
            kind: None,
            title: "Not found".to_owned(),
            status: 404,
            code: "object_not_found".to_owned(),
            detail: "There is no client\nof that name.\u{1b}[31m".to_owned(),
            action: "List them.".to_owned(),
            reference: None,
        };
        let failure = Failure::problem(404, problem);
        assert_eq!(failure.exit, Exit::NotFound);
        let shown = failure.human();
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn an_io_error_is_told_in_words() {
        let error = std::fs::read("/nowhere/x").unwrap_err();
        let failure = Failure::file("read", Path::new("/nowhere/x"), &error);
        assert_eq!(
            failure.human(),
            "error: /nowhere/x cannot be read\n  why: it does not exist\n  do:  check the path: each directory in it must be there\n"
        );
        assert_eq!(failure.exit, Exit::NotFound);
    }
}
