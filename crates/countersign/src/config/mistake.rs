//! A mistake in the configuration, and how it is shown: as a compiler would, with the line and what to do.

use crate::words::escaped;
use serde::Serialize;
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
    /// What of the file is not repeated.
    pub hidden: Hidden,
    /// Whether the file is refused because of it.
    pub severity: Severity,
}

/// Whether a file is refused because of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It is refused.
    Error,
    /// It is accepted, and probably does not do what its author expects.
    Warning,
}

/// What may be a secret that somebody wrote into the file by error, and is shown as dots: to each mistake on the same line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Nothing.
    Nothing,
    /// The marked text: it stands where a reference to a secret belongs.
    Marked,
    /// The quoted texts of the line: the key is not known, and so is not what its value is.
    Texts,
    /// The quoted texts and the words behind `=`: the line cannot be read at all.
    Values,
}

impl Mistake {
    /// A mistake at `span`.
    pub fn new(span: Range<usize>, message: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span,
            reason: reason.into(),
            help: None,
            hidden: Hidden::Nothing,
            severity: Severity::Error,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Hides what may be a secret.
    #[must_use]
    pub fn hide(self, hidden: Hidden) -> Self {
        Self { hidden, ..self }
    }
}

/// Collects mistakes while the file is read, so that all of them are reported at once.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn add(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    /// Adds something that does not make the file wrong.
    pub(crate) fn warn(&mut self, mistake: Mistake) {
        self.add(Mistake { severity: Severity::Warning, ..mistake });
    }

    /// Whether the file is accepted.
    pub(crate) fn has_none(&self) -> bool {
        self.0.iter().all(|found| found.severity == Severity::Warning)
    }

    /// What is of this severity, in the order of the file. Two at one place are both told, the same one twice is told once.
    pub(crate) fn into_sorted(mut self, severity: Severity) -> Vec<Mistake> {
        self.0.retain(|found| found.severity == severity);
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
    fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
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
    let hidden: Vec<Range<usize>> = mistakes.iter().flat_map(|mistake| hidden(source, mistake)).collect();
    for mistake in mistakes {
        render_one(&mut out, path, &Place::of(source, mistake, &hidden), mistake, colour);
        out.push('\n');
    }
    out
}

fn render_one(out: &mut String, path: &Path, place: &Place, mistake: &Mistake, colour: Colour) {
    let gutter = " ".repeat(place.line.to_string().len());
    let bar = colour.blue("|");
    let (kind, paint): (_, fn(Colour, &str) -> String) = match mistake.severity {
        Severity::Error => ("error", Colour::red),
        Severity::Warning => ("warning", Colour::yellow),
    };
    let marks = paint(colour, &"^".repeat(place.width));
    // Writing into a String cannot fail.
    let _ = writeln!(
        out,
        "{}{}",
        paint(colour, &format!("{kind}[config]")),
        colour.bold(&format!(": {}", mistake.message))
    );
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
    fn of(source: &str, mistake: &Mistake, hidden: &[Range<usize>]) -> Self {
        let (line, span) = (line_of(source, mistake), mark_of(source, mistake));
        let shown: String = source[line.clone()]
            .char_indices()
            .map(
                |(at, c)| {
                    if hidden.iter().any(|range| range.contains(&(line.start + at))) { '•' } else { c }
                },
            )
            .collect();
        let before = source[line.start..span.start].chars().count();
        let marked = source[span.start..span.end.min(line.end)].trim_end().chars().count();
        let part = |from: usize, count: usize| shown.chars().skip(from).take(count).collect::<String>();
        Self {
            line: source[..span.start].matches('\n').count() + 1,
            column: before + 1,
            text: escaped(shown.trim_end()),
            indent: escaped(&part(0, before)).chars().count(),
            width: escaped(&part(before, marked)).chars().count().max(1),
        }
    }
}

/// A mistake with its place, as programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located<'a> {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: &'a str,
    /// Why it is wrong.
    pub reason: &'a str,
    /// What to do about it.
    pub help: Option<&'a str>,
}

impl<'a> Located<'a> {
    pub(super) fn of(source: &str, mistake: &'a Mistake) -> Self {
        let Place { line, column, .. } = Place::of(source, mistake, &[]);
        let Mistake { message, reason, help, .. } = mistake;
        Self { line, column, message, reason, help: help.as_deref() }
    }
}

/// The bytes of the mark, wherever a span points.
fn mark_of(source: &str, mistake: &Mistake) -> Range<usize> {
    let start = floor_char_boundary(source, mistake.span.start);
    start..floor_char_boundary(source, mistake.span.end).max(start)
}

/// The bytes of the line in which the mark begins.
fn line_of(source: &str, mistake: &Mistake) -> Range<usize> {
    let start = mark_of(source, mistake).start;
    let begin = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
    begin..source[start..].find('\n').map_or(source.len(), |newline| start + newline)
}

/// What a mistake hides, as bytes of the file.
fn hidden(source: &str, mistake: &Mistake) -> Vec<Range<usize>> {
    let (mark, line) = (mark_of(source, mistake), line_of(source, mistake));
    let texts = |words_too: bool| values(&source[line.clone()], words_too);
    let in_file = |range: Range<usize>| line.start + range.start..line.start + range.end;
    match mistake.hidden {
        Hidden::Nothing => Vec::new(),
        Hidden::Marked => vec![mark],
        // The mark is the key, which is what the mistake is about.
        Hidden::Texts => {
            let beside = |range: &Range<usize>| range.end <= mark.start || mark.end <= range.start;
            texts(false).into_iter().map(in_file).filter(beside).collect()
        }
        Hidden::Values => texts(true).into_iter().map(in_file).collect(),
    }
}

/// The quoted texts of a line without their quotes; with `words_too` also what stands unquoted behind the first `=`.
fn values(line: &str, words_too: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // A line that is neither an entry nor a header may be one of a text that goes over several.
    let neither = !line.contains('=') && !line.trim_start().starts_with('[');
    let (mut quote, mut behind_equals, mut escaped) = (None, neither, false);
    for (at, c) in line.char_indices() {
        let end = at + c.len_utf8();
        match quote {
            Some(open) if c == open && !escaped => quote = None,
            Some(open) => {
                escaped = c == '\\' && !escaped && open == '"';
                found.push(at..end);
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '#' => break,
            None if c == '=' => behind_equals = true,
            None if words_too && behind_equals && !c.is_whitespace() && !"[]{},".contains(c) => {
                found.push(at..end);
            }
            None => {}
        }
    }
    found
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

    /// How a line is shown with these mistakes: where the mark is, and what it hides.
    fn shown(source: &str, mistakes: &[(&str, Hidden)]) -> String {
        let mistake = |(mark, hidden): &(&str, Hidden)| {
            let start = source.find(mark).unwrap();
            Mistake::new(start..start + mark.len(), "message", "reason").hide(*hidden)
        };
        let mistakes: Vec<Mistake> = mistakes.iter().map(mistake).collect();
        render(Path::new("a.toml"), source, &mistakes, Colour::Never)
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        use Hidden::{Marked, Nothing, Texts, Values};
        for (source, mistakes, expected) in [
            ("master = \"hunter2\" # x", &[("\"hunter2\"", Marked)][..], "| master = ••••••••• # x\n"),
            // A neighbour's mistake shows the same line.
            (
                "keys = { master = \"hunter2\", more = 1 }",
                &[("\"hunter2\"", Marked), ("more", Nothing)],
                "| keys = { master = •••••••••, more = 1 }\n",
            ),
            ("mastr = \"hunter2\"", &[("mastr", Texts)], "| mastr = \"•••••••\"\n"),
            (
                "a = { \"mas tr\" = 'hunter2' }",
                &[("\"mas tr\"", Texts)],
                "| a = { \"mas tr\" = '•••••••' }\n",
            ),
            ("mastr = \"hun\\\"ter2\"", &[("mastr", Texts)], "| mastr = \"•••••••••\"\n"),
            ("master = \"hunter2", &[("hunter2", Values)], "| master = \"•••••••\n"),
            ("master = hunter2 # é", &[("hunter2", Values)], "| master = ••••••• # é\n"),
            ("hunter2", &[("hunter2", Values)], "| •••••••\n"),
            ("[keys", &[("[keys", Values)], "| [keys\n"),
        ] {
            let shown = shown(source, mistakes);
            assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{shown}");
            assert_eq!(shown.matches(expected).count(), mistakes.len(), "{shown}");
        }
    }

    #[test]
    fn rule_g11_escape_sequences_of_the_file_do_not_reach_the_terminal() {
        assert!(!show("a = \"\u{1b}[31m\"", 4..12).contains('\u{1b}'));
    }
}
