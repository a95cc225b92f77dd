//! Names of header fields as servers read them (rule G19).
//!
//! Many servers turn names into variables: CGI and its heirs make `HTTP_X_REAL_IP` of `X-Real-IP`, of `x_real_ip` and, in
//! lighttpd and PHP, of `X.Real.IP`. Names are therefore compared folded: in any case, each run of characters that are no
//! letters or digits as one separator, without those at the ends and without a leading `HTTP_`. Nothing is allocated: the
//! bytes are read where they are.

mod table;

use std::fmt;
use table::{RULES, Rule, candidates};

/// What a name means here, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Of one connection, or what the framing of a message is made of (RFC 9110 section 7.6.1).
    Connection,
    /// A credential, which ends at the gateway.
    Credential,
    /// Who calls, as the gateway says it.
    Ours,
    /// Which way the request came, as the gateway says it (RFC 7239 and its ancestors).
    Way,
    /// Asks for another path, method, host or file than was decided about.
    Override,
    /// Who calls, as another gateway or server module says it.
    Gateway,
    /// Read or set by the gateway under its one spelling; other spellings end here.
    Exact,
    /// Similar to a name of the other kinds, but not one of them.
    Plain,
}

/// A name, or with `*` at its end the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Folded; ends in `-` when it is a beginning.
    text: Box<str>,
    is_prefix: bool,
}

/// The text is no name and no beginning of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a header name of letters, digits, `-` and `_`, or the beginning of names such as `x-acme-*`")]
pub struct PatternError;

impl Pattern {
    /// Takes a name, or `x-acme-*`.
    ///
    /// # Errors
    /// When it has other characters, no letter or digit, or a `*` that no separator stands before.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(name) if name.ends_with(['-', '_']) => (name, true),
            Some(_) => return Err(PatternError),
            None => (text, false),
        };
        let core = core(name.as_bytes());
        if core.is_empty() || !is_plain(name.as_bytes()) {
            return Err(PatternError);
        }
        let mut text = String::with_capacity(core.len() + 1);
        for folded in core.iter().map(|&byte| fold(byte)) {
            if folded != b'-' || !text.ends_with('-') {
                text.push(char::from(folded));
            }
        }
        if is_prefix {
            text.push('-');
        }
        Ok(Self { text: text.into(), is_prefix })
    }

    /// Whether it means this name.
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.text, self.is_prefix, core(name.as_bytes()))
    }

    /// Whether it means every name that `other` means.
    pub fn covers(&self, other: &Self) -> bool {
        matches(&self.text, self.is_prefix, other.text.as_bytes())
    }

    /// The classes of the names that both it and the table mean; each may come several times.
    pub fn classes(&self) -> impl Iterator<Item = Class> + use<'_> {
        RULES.iter().filter(|rule| rule.overlaps(&self.text, self.is_prefix)).map(|rule| rule.class)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

/// What a name means here; `None` for most.
pub fn class_of(name: &str) -> Option<Class> {
    rule_of(name).map(|rule| rule.class)
}

/// Whether a name that means something here is written as the table has it: in lower case, with its own separators.
pub fn is_exact(name: &str) -> bool {
    rule_of(name).is_some_and(|rule| rule.text() == name)
}

fn rule_of(name: &str) -> Option<&'static Rule> {
    let core = core(name.as_bytes());
    candidates(core).find(|rule| matches(rule.text(), rule.is_prefix(), core))
}

/// Whether two names are one to some server.
pub fn same_name(left: &str, right: &str) -> bool {
    same_bytes(left.as_bytes(), right.as_bytes())
}

/// The same for a name that nobody has checked to be one, such as those that `Connection` lists.
pub fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    // Most names differ at once. Separators and an `HTTP_` before them need a closer look.
    if let ([l, ..], [r, ..]) = (left, right)
        && let (l, r) = (fold(*l), fold(*r))
        && l != r
        && ![l, r].iter().any(|first| matches!(first, b'-' | b'h'))
    {
        return false;
    }
    let (mut left, mut right) = (core(left), core(right));
    while let ([l, ..], [r, ..]) = (left, right) {
        let folded = fold(*l);
        if folded != fold(*r) {
            return false;
        }
        (left, right) =
            if folded == b'-' { (behind_run(left), behind_run(right)) } else { (&left[1..], &right[1..]) };
    }
    left.is_empty() && right.is_empty()
}

/// Whether a name has only what every server keeps apart: letters, digits, `-` and `_` (rule G19). RFC 9110 section 5.1
/// recommends letters, digits and hyphens; a name with other characters is not forwarded but refused.
pub fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|&byte| is_plain_byte(byte))
}

/// Whether a name may have this byte.
pub const fn is_plain_byte(byte: u8) -> bool {
    PLAIN[byte as usize]
}

/// Whether `core` is, or begins with, `text`, which is folded.
fn matches(text: &str, is_prefix: bool, core: &[u8]) -> bool {
    let mut rest = core;
    for &wanted in text.as_bytes() {
        match rest.first() {
            Some(&byte) if fold(byte) == wanted => {
                rest = if wanted == b'-' { behind_run(rest) } else { &rest[1..] };
            }
            _ => return false,
        }
    }
    is_prefix || rest.is_empty()
}

/// A name without separators at its ends, and without `HTTP_` before it: who writes `HTTP_X_REAL_IP` hopes for a server
/// that adds no second one.
fn core(name: &[u8]) -> &[u8] {
    let mut core = name;
    loop {
        core = behind_run(core);
        match core {
            [a, b, c, d, e, ..] if fold(*e) == b'-' && [*a, *b, *c, *d].eq_ignore_ascii_case(b"http") => {
                core = &core[4..];
            }
            _ => break,
        }
    }
    while let [start @ .., last] = core
        && fold(*last) == b'-'
    {
        core = start;
    }
    core
}

/// What stands behind the separators that a name begins with.
fn behind_run(name: &[u8]) -> &[u8] {
    let mut rest = name;
    while let [first, behind @ ..] = rest
        && fold(*first) == b'-'
    {
        rest = behind;
    }
    rest
}

const fn fold(byte: u8) -> u8 {
    FOLD[byte as usize]
}

/// Letters in lower case, digits as they are, a hyphen for everything else.
static FOLD: [u8; 256] = {
    let mut table = [b'-'; 256];
    let mut i = 0;
    while i < 256 {
        if (i as u8).is_ascii_alphanumeric() {
            table[i] = (i as u8).to_ascii_lowercase();
        }
        i += 1;
    }
    table
};

static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        table[i] = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests;
