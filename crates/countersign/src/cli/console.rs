//! What a command prints: tables for people, one JSON document for programs, progress on standard error, and questions
//! on a terminal only.

use crate::config::Colour;
use crate::config::secret_ref::ProcessEnvironment;
use crate::failure::{Exit, Failure};
use crate::system::SystemEnvironment;
use crate::words::printable;
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};

/// Where a command's output goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    json: bool,
    /// Whether somebody is there to answer.
    interactive: bool,
}

impl Console {
    /// The console of this process.
    pub fn of_process(json: bool) -> Self {
        Self { json, interactive: io::stdin().is_terminal() && io::stderr().is_terminal() }
    }

    /// Whether a program reads the output.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Colours for standard error: on a terminal only, and not where NO_COLOR is set (no-color.org).
    pub fn error_colour(self) -> Colour {
        colours(&io::stderr())
    }

    /// The same for standard output.
    pub fn output_colour(self) -> Colour {
        colours(&io::stdout())
    }

    /// The answer: `value` as one JSON document for programs, `human` for people.
    ///
    /// # Errors
    /// When standard output does not take it; a reader that went away, such as `head`, is no error.
    pub fn answer<T: Serialize>(self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let mut text = serde_json::to_string(value)
                .map_err(|error| Failure::caused(Exit::Refused, "the answer is not valid JSON", &error))?;
            text.push('\n');
            self.print(&text)
        } else {
            self.print(&human())
        }
    }

    /// Text for standard output as it is.
    ///
    /// # Errors
    /// When standard output does not take it; a reader that went away, such as `head`, is no error.
    pub fn print(self, text: &str) -> Result<(), Failure> {
        self.print_while_read(text).map(drop)
    }

    /// As [`Console::print`]; false if the reader went away, so that nothing more is fetched for it.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) fn print_while_read(self, text: &str) -> Result<bool, Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::caused(Exit::Refused, "the output cannot be written", &error)),
        }
    }

    /// A line about what is going on, on standard error; not for programs.
    pub fn progress(self, text: &str) {
        if !self.json {
            // Nobody can be told that standard error is gone.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Tells a failure on standard error.
    pub fn failure(self, failure: &Failure) {
        let text = if self.json { format!("{}\n", failure.json()) } else { failure.human() };
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Asks before something that cannot be undone. Without a terminal there is nobody to ask, and `--yes` is needed.
    ///
    /// # Errors
    /// When the answer is no, or nobody can be asked.
    pub fn confirm(self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive || self.json {
            let failure = Failure::new(Exit::Usage, "this needs a yes, and nobody can be asked");
            let why = match self.json {
                true => "with --json a program reads what is printed",
                false => "standard input is no terminal",
            };
            return Err(failure.why(why).action("add --yes"));
        }
        let mut err = io::stderr().lock();
        let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Failure::new(Exit::Refused, "nothing was changed")
            .why("the answer was not yes")
            .action("run it again and answer yes, or add --yes"))
    }
}

/// A table with columns as wide as they need, for people.
pub(crate) fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.clone().map(|cell| printable(&cell))).collect();
    let headers = headers.map(str::to_owned);
    let widths = widths(&headers, &rows);
    std::iter::once(&headers).chain(&rows).map(|row| row_text(row, &widths)).collect()
}

/// How wide the columns of these rows are.
pub(crate) fn widths<const N: usize>(headers: &[String; N], rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let rows = rows.iter().chain([headers]);
        rows.map(|row| row[column].chars().count()).max().unwrap_or(0)
    })
}

/// One line of a table. A cell that is wider than its column pushes the others of its line.
pub(crate) fn row_text<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("{}\n", cells.join("  ").trim_end())
}

/// Lines of `name  value`, for people.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {}\n", printable(value))).collect()
}

fn colours(stream: &impl IsTerminal) -> Colour {
    if stream.is_terminal() && SystemEnvironment.variable("NO_COLOR").is_none() {
        Colour::Always
    } else {
        Colour::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], &rows), "NAME  N\na     1\nlong  22\n");
        assert_eq!(fields(&[("id", "x".into()), ("name", "y".into())]), "id    x\nname  y\n");
    }

    #[test]
    fn why_nobody_is_asked_is_told_as_it_is() {
        for (json, interactive, why) in [(true, true, "--json"), (false, false, "no terminal")] {
            let failure = Console { json, interactive }.confirm(false, "Really?").unwrap_err();
            assert!(failure.why.unwrap().contains(why), "{why}");
        }
        Console { json: true, interactive: false }.confirm(true, "Really?").unwrap();
    }

    #[test]
    fn rule_g11_names_of_others_do_not_move_the_cursor() {
        assert_eq!(table(["A"], &[["x\u{1b}[2J\ny".to_owned()]]), "A\nx [2J y\n");
    }
}
