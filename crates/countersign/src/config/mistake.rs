//! A mistake in the configuration, and how it is shown: as a compiler would, with the line and what to do.

use crate::words::escaped;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, in one line.
    pub message: String,
    /// The bytes of the file that are wrong.
    pub span: Range<usize>,
    /// Why they are wrong; stands beside the marks.
    pub reason: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether the marked text may be a secret, and is shown as dots.
    pub masked: bool,
}

impl Mistake {
    /// A mistake at `span`.
    pub fn new(span: Range<usize>, message: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { message: message.into(), span, reason: reason.into(), help: None, masked: false }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Hides the marked text.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { masked: true, ..self }
    }
}

/// Collects mistakes while the file is read, so that all of them are reported at once.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn add(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order of the file. Two at one place are both told, the same one twice is told once.
    pub(crate) fn into_sorted(mut self) -> Vec<Mistake> {
        self.0.sort_by(|a, b| (a.span.start, &a.message).cmp(&(b.span.start, &b.message)));
        self.0.dedup();
        self.0
    }
}

/// Whether to use colours: only a terminal wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI escapes.
    Always,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Never => text.to_owned(),
            Self::Always => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
    fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }
    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
    fn blue(self, text: &str) -> String {
        self.paint("1;34", text)
    }
}

/// Shows `mistakes` of the file `path` with the text `source`.
pub fn render(path: &Path, source: &str, mistakes: &[Mistake], colour: Colour) -> String {
    let mut out = String::new();
    for mistake in mistakes {
        render_one(&mut out, path, source, mistake, colour);
        out.push('\n');
    }
    out
}

fn render_one(out: &mut String, path: &Path, source: &str, mistake: &Mistake, colour: Colour) {
    let place = Place::of(source, mistake);
    let gutter = " ".repeat(place.line.to_string().len());
    let bar = colour.blue("|");
    let marks = colour.red(&"^".repeat(place.width));
    // Writing into a String cannot fail.
    let _ =
        writeln!(out, "{}{}", colour.red("error[config]"), colour.bold(&format!(": {}", mistake.message)));
    let _ =
        writeln!(out, "{gutter}{} {}:{}:{}", colour.blue("-->"), path.display(), place.line, place.column);
    let _ = writeln!(out, "{gutter} {bar}");
    let _ = writeln!(out, "{} {bar} {}", colour.blue(&place.line.to_string()), place.text);
    let _ = writeln!(out, "{gutter} {bar} {}{marks} {}", " ".repeat(place.indent), mistake.reason);
    if let Some(help) = &mistake.help {
        let _ = writeln!(out, "{gutter} {} {}: {help}", colour.blue("="), colour.bold("help"));
    }
}

/// Where a span is in the eyes of a person.
struct Place {
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    /// The line itself, fit for a terminal.
    text: String,
    /// Columns before the marks.
    indent: usize,
    /// How many marks: the span's part on its first line, at least one.
    width: usize,
}

impl Place {
    fn of(source: &str, mistake: &Mistake) -> Self {
        let span = &mistake.span;
        let start = floor_char_boundary(source, span.start);
        let end = floor_char_boundary(source, span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
        let before = &source[line_start..start];
        let marked = &source[start..end.min(line_end)];
        let hidden = "•".repeat(marked.chars().count());
        let shown = if mistake.masked { &hidden } else { marked };
        let after = &source[end.min(line_end)..line_end];
        Self {
            line: source[..start].matches('\n').count() + 1,
            column: before.chars().count() + 1,
            text: escaped(format!("{before}{shown}{after}").trim_end()),
            indent: escaped(before).chars().count(),
            width: escaped(shown.trim_end()).chars().count().max(1),
        }
    }
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(source: &str, span: Range<usize>) -> String {
        let mistake = Mistake::new(span, "message", "reason").help("help");
        render(Path::new("a.toml"), source, &[mistake], Colour::Never)
    }

    #[test]
    fn a_mistake_looks_as_in_a_compiler() {
        let source = "one = 1\ninternal = true\n";
        let expected = "error[config]: message\n --> a.toml:2:1\n  |\n2 | internal = true\n  | ^^^^^^^^^^^^^^^ reason\n  = help: help\n\n";
        assert_eq!(show(source, 8..23), expected);
    }

    #[test]
    fn a_span_of_several_lines_is_marked_on_its_first() {
        assert!(show("a = [\n1,\n]\n", 0..11).contains("1 | a = [\n  | ^^^^^ reason"));
    }

    #[test]
    fn a_place_outside_the_file_or_inside_a_character_is_shown_anyway() {
        assert!(show("", 0..0).contains(":1:1"));
        assert!(show("é = 1", 1..99).contains(":1:1"));
        assert!(show("a = 1", 50..60).contains(":1:6"));
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let mistake = Mistake::new(9..18, "message", "reason").masked();
        let shown = render(Path::new("a.toml"), "master = \"hunter2\" # x\n", &[mistake], Colour::Never);
        assert!(!shown.contains("hunter2") && shown.contains("| master = ••••••••• # x"), "{shown}");
    }

    #[test]
    fn rule_g11_escape_sequences_of_the_file_do_not_reach_the_terminal() {
        assert!(!show("a = \"\u{1b}[31m\"", 4..12).contains('\u{1b}'));
    }
}
