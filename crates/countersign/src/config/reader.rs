//! Reads a parsed TOML document into section structs, key by key, so that one bad value hides no other.
//!
//! [`section!`] declares a section once: from it come the struct, the reading, the list of known keys for hints, and the
//! reference documentation. There is no key that is read and not documented, and none that is documented and not read.

use super::mistake::{Hidden, Mistake, Mistakes};
use crate::words::{list, similar};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place in the file.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// The bytes of the value.
    pub(crate) span: Range<usize>,
    /// The bytes of the key and its value: `internal = true`.
    pub(crate) entry: Range<usize>,
}

/// What stands in the file for a key.
#[derive(Debug, Clone)]
pub(crate) enum Given<T> {
    /// Nothing, and nothing is needed.
    Absent,
    /// Something wrong, or nothing where something is needed: it is reported already.
    Broken,
    /// A good value, or the default.
    Is(At<T>),
}

impl<T> Given<T> {
    pub(crate) fn get(&self) -> Option<&At<T>> {
        match self {
            Self::Is(at) => Some(at),
            Self::Absent | Self::Broken => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&T> {
        self.get().map(|at| &at.value)
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// It must.
    Required,
    /// It may be left out, and then the thing itself is not there.
    Optional,
    /// It may be left out, and then this TOML stands for it.
    Default(&'static str),
}

/// One key, for hints and for the reference.
pub(crate) struct KeyDoc {
    pub(crate) name: &'static str,
    pub(crate) kind: fn() -> String,
    pub(crate) rule: Rule,
    pub(crate) doc: &'static [&'static str],
}

/// A table of the file with its known keys.
pub(crate) trait Section: Sized {
    /// As it is written: `[[routes]]`.
    const HEADER: &'static str;
    const DOC: &'static [&'static str];
    const KEYS: &'static [KeyDoc];

    /// Reads `table`; every mistake goes to `out`, and the keys that are right are there all the same.
    fn read_table(table: &DeTable<'_>, header: Range<usize>, out: &mut Mistakes) -> Self;
}

/// Something that can stand behind a key.
pub(crate) trait Value: Sized {
    /// What it is, for the reference and for messages: `text`, `address:port`.
    fn kind() -> String;

    /// Reads `value`; `None` when a mistake was reported.
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self>;
}

/// Declares a section: struct, reader, known keys and documentation in one place.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident = $header:literal {
            $( $(#[doc = $key_doc:literal])+ $key:ident: $ty:ty = $rule:expr; )*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            /// Where the section begins: what is missing in it is told there.
            #[allow(dead_code, reason = "not every section has something to tell about itself")]
            pub(crate) header: std::ops::Range<usize>,
            $( $(#[doc = $key_doc])+ pub(crate) $key: $crate::config::reader::Given<$ty>, )*
        }

        impl $crate::config::reader::Section for $name {
            const HEADER: &'static str = $header;
            const DOC: &'static [&'static str] = &[$($doc),+];
            const KEYS: &'static [$crate::config::reader::KeyDoc] = &[$(
                $crate::config::reader::KeyDoc {
                    name: stringify!($key),
                    kind: <$ty as $crate::config::reader::Value>::kind,
                    rule: { #[allow(unused_imports)] use $crate::config::reader::Rule::*; $rule },
                    doc: &[$($key_doc),+],
                },
            )*];

            fn read_table(
                table: &toml::de::DeTable<'_>,
                header: std::ops::Range<usize>,
                out: &mut $crate::config::mistake::Mistakes,
            ) -> Self {
                $crate::config::reader::refuse_unknown_keys::<Self>(table, out);
                Self {
                    $( $key: $crate::config::reader::read_key(table, stringify!($key), {
                        #[allow(unused_imports)] use $crate::config::reader::Rule::*;
                        $rule
                    }, Self::HEADER, &header, out), )*
                    header,
                }
            }
        }

        impl $crate::config::reader::Value for $name {
            fn kind() -> String {
                "table".to_owned()
            }

            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                out: &mut $crate::config::mistake::Mistakes,
            ) -> Option<Self> {
                let table = $crate::config::reader::expect_table(value, $header, out)?;
                Some(<Self as $crate::config::reader::Section>::read_table(table, value.span(), out))
            }
        }
    };
}
pub(crate) use section;

/// The table behind `value`, or a mistake.
pub(crate) fn expect_table<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
    header: &str,
    out: &mut Mistakes,
) -> Option<&'a DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        out.add(wrong_type(value, &format!("a table, written {header}")));
    }
    table
}

/// The mistake of a value that is something else than `expected`.
pub(crate) fn wrong_type(value: &Spanned<DeValue<'_>>, expected: &str) -> Mistake {
    let found = match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Mistake::new(value.span(), format!("expected {expected}"), format!("this is {found}"))
}

/// Reads the key `name` of `table` by `rule`.
pub(crate) fn read_key<T: Value>(
    table: &DeTable<'_>,
    name: &str,
    rule: Rule,
    section: &str,
    header: &Range<usize>,
    out: &mut Mistakes,
) -> Given<T> {
    if let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) {
        let (key, span) = (key.span(), value.span());
        // A table of its own has its header as its place; an entry runs from its key to the end of its value.
        let entry = if key.start < span.start { key.start..span.end } else { span.clone() };
        return match T::read(value, out) {
            Some(value) => Given::Is(At { value, span, entry }),
            None => Given::Broken,
        };
    }
    match rule {
        Rule::Optional => Given::Absent,
        Rule::Default(text) => match default_value(text) {
            Some(value) => Given::Is(At { value, span: header.clone(), entry: header.clone() }),
            None => Given::Broken,
        },
        Rule::Required => {
            let message = format!("{} has no `{name}`", called(section, table));
            let missing = Mistake::new(header.clone(), message, "it is missing here");
            out.add(missing.help(format!("add {name} = … ({})", T::kind())));
            Given::Broken
        }
    }
}

/// A section as messages call it: `[[routes]] data`, where it has a name.
fn called(section: &str, table: &DeTable<'_>) -> String {
    let section = if section.is_empty() { "the file" } else { section };
    match table
        .iter()
        .find(|(key, _)| key.get_ref() == "name")
        .and_then(|(_, value)| value.get_ref().as_str())
    {
        Some(name) => format!("{section} `{}`", name.escape_debug()),
        None => section.to_owned(),
    }
}

/// The value of a default, which is written as TOML in the section's declaration. A test reads every default.
fn default_value<T: Value>(text: &str) -> Option<T> {
    let value = DeValue::parse(text).ok()?;
    T::read(&value, &mut Mistakes::default())
}

/// Reports every key of `table` that the section does not know, with the name that was probably meant.
pub(crate) fn refuse_unknown_keys<S: Section>(table: &DeTable<'_>, out: &mut Mistakes) {
    for (key, _) in table {
        let name = key.get_ref().as_ref();
        if S::KEYS.iter().any(|known| known.name == name) {
            continue;
        }
        let place = called(S::HEADER, table);
        let message = format!("unknown key `{}`", name.escape_debug());
        let mistake =
            Mistake::new(key.span(), message, format!("{place} has no such key")).hide(Hidden::Texts);
        out.add(mistake.help(match similar(name, S::KEYS.iter().map(|known| known.name)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it knows {}", list(S::KEYS.iter().map(|known| known.name))),
        }));
    }
}
