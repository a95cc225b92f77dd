//! What can stand behind a key: texts with a meaning, each checked where it is read.

use super::mistake::{Hidden, Mistake, Mistakes};
use super::reader::{At, Value, wrong_type};
use crate::words::{list, similar};
use countersign_model::{ClientId, Environment, Scope};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// What this machine calls itself.
pub(crate) const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Value for String {
    fn kind() -> String {
        "text".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let text = text_of(value, "text", out)?;
        if text.trim().is_empty() {
            out.add(Mistake::new(value.span(), "empty text", "something must stand here"));
            return None;
        }
        Some(text.to_owned())
    }
}

impl Value for bool {
    fn kind() -> String {
        "`true` or `false`".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            out.add(wrong_type(value, "true or false"));
        }
        found
    }
}

impl Value for NonZeroU32 {
    fn kind() -> String {
        "number".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let Some(integer) = value.get_ref().as_integer() else {
            out.add(wrong_type(value, "a whole number"));
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(NonZeroU32::new);
        if number.is_none() {
            let reason = format!("a whole number from 1 to {} belongs here", u32::MAX);
            out.add(Mistake::new(value.span(), "number out of range", reason));
        }
        number
    }
}

impl<T: Value> Value for Vec<At<T>> {
    fn kind() -> String {
        format!("list: {}", T::kind())
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            out.add(wrong_type(value, "a list in [ ]"));
            return None;
        };
        // Every element is read, so that each mistake in the list is told; one of them spoils the list.
        let read = |element: &Spanned<DeValue<'_>>, out: &mut Mistakes| {
            let value = T::read(element, out)?;
            Some(At { value, span: element.span(), entry: element.span() })
        };
        let elements: Vec<Option<At<T>>> = array.iter().map(|element| read(element, out)).collect();
        elements.into_iter().collect()
    }
}

/// `{ "data:read" = "Read accounts" }`: the scopes of an API with what they mean.
#[derive(Debug, Clone)]
pub(crate) struct ScopeTable(pub(crate) Vec<(Scope, String)>);

impl Value for ScopeTable {
    fn kind() -> String {
        "table: scope = what it allows, for people".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            out.add(wrong_type(value, "a table, written { \"scope\" = \"what it allows\" }"));
            return None;
        };
        let entries: Vec<Option<(Scope, String)>> = table
            .iter()
            .map(|(key, value)| {
                let scope = key.get_ref().parse::<Scope>().map_err(|error| {
                    let message = format!("`{}` is no scope", key.get_ref().escape_debug());
                    out.add(Mistake::new(key.span(), message, error.to_string()));
                });
                let description = String::read(value, out);
                Some((scope.ok()?, description?))
            })
            .collect();
        entries.into_iter().collect::<Option<_>>().map(Self)
    }
}

/// Makes a value out of every type that is read from text.
macro_rules! text_values {
    ($($ty:ty: $kind:literal;)*) => {$(
        impl Value for $ty {
            fn kind() -> String {
                $kind.to_owned()
            }
            fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
                let text = text_of(value, $kind, out)?;
                text.parse().map_err(|error| {
                    let mistake = |message| Mistake::new(value.span(), message, format!("{error}"));
                    // Before the host of a URL stand a user and his password.
                    out.add(if text.contains("://") && text.contains('@') {
                        mistake("this is not understood".to_owned()).hide(Hidden::Marked)
                    } else {
                        mistake(format!("`{}` is not understood", text.escape_debug()))
                    });
                }).ok()
            }
        }
    )*};
}

text_values! {
    ClientId: "client_id";
    Environment: "`sandbox` or `production`";
    Scope: "scope";
    SocketAddr: "address:port";
    Name: "name";
    Period: "duration, as `500ms`, `10s`, `5m`, `24h`, `30d`";
    Size: "size, as `64KiB`, `10MiB`";
    Origin: "URL without a path";
    Audience: "absolute URI";
    FileRef: "`file:PATH`";
    HostName: "host name";
    DatabaseUrl: "`sqlite:PATH`";
    PathBufText: "path of a directory";
    HeaderText: "header name";
    Network: "network, such as `10.0.0.0/8`, or one address";
}

pub(super) fn text_of<'a>(
    value: &'a Spanned<DeValue<'_>>,
    expected: &str,
    out: &mut Mistakes,
) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        out.add(wrong_type(value, &format!("{expected}, written in quotes")));
    }
    text
}

/// Makes a value out of a closed set of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $word:literal, )+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$variant_doc])* $variant, )+ }

        impl $name {
            const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),+];

            /// The word as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl $crate::config::reader::Value for $name {
            fn kind() -> String {
                let words: Vec<String> = Self::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
                words.join(", ")
            }
            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                out: &mut $crate::config::mistake::Mistakes,
            ) -> Option<Self> {
                $crate::config::values::read_word(value, Self::WORDS, out)
            }
        }
    };
}
pub(crate) use words;

/// Reads one of `words`.
pub(crate) fn read_word<T: Copy>(
    value: &Spanned<DeValue<'_>>,
    words: &[(&'static str, T)],
    out: &mut Mistakes,
) -> Option<T> {
    let known = || list(words.iter().map(|(word, _)| *word));
    let text = text_of(value, &known(), out)?;
    if let Some((_, found)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*found);
    }
    let message = format!("`{}` is not understood", text.escape_debug());
    let mistake = Mistake::new(value.span(), message, format!("it is one of {}", known()));
    out.add(match similar(text, words.iter().map(|(word, _)| *word)) {
        Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
        None => mistake,
    });
    None
}

/// Why a text is not what its key asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub(crate) &'static str);

/// The name of a listener, upstream, API or route: it stands in logs, metrics and URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        // The same characters as a client_id: safe in a log, a label, a path and a header.
        match text.parse::<ClientId>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => {
                Err(NotUnderstood("a name has 1 to 64 characters of a-z 0-9 . _ -, first a letter or digit"))
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network of IPv4 or IPv6 addresses; one address is a network too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl FromStr for Network {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        const SHAPE: NotUnderstood = NotUnderstood("write `10.0.0.0/8` or one address");
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse().map_err(|_| SHAPE)?,
        };
        Ok(Self(canonical(network).trunc()))
    }
}

/// Callers are looked for by their IPv4 addresses, also where a socket shows them as `::ffff:a.b.c.d` (RFC 4291 section
/// 2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(v4, prefix)| IpNet::new(v4.into(), prefix).ok()).unwrap_or(network)
}

/// A duration of at least a millisecond and at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(pub(crate) Duration);

impl FromStr for Period {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        const SHAPE: NotUnderstood = NotUnderstood("a number with ms, s, m, h or d behind it belongs here");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| SHAPE)?;
        let unit_ms: u64 = match &text[digits..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(SHAPE),
        };
        match number.checked_mul(unit_ms) {
            Some(ms) if (1..=3650 * 86_400_000).contains(&ms) => Ok(Self(Duration::from_millis(ms))),
            _ => Err(NotUnderstood("it must be more than nothing and at most ten years")),
        }
    }
}

/// A number of bytes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        const SHAPE: NotUnderstood = NotUnderstood("a number with B, KiB, MiB or GiB behind it belongs here");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| SHAPE)?;
        let unit: u64 = match &text[digits..] {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(SHAPE),
        };
        match number.checked_mul(unit) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(NotUnderstood("it must be more than nothing and fit 64 bit")),
        }
    }
}

/// A number of bytes that may be none: `0`, with or without quotes, or with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SizeOrNone(pub(crate) u64);

impl Value for SizeOrNone {
    fn kind() -> String {
        format!("{}, or `0`", Size::kind())
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let number = value.get_ref().as_integer().map(|number| number.as_str());
        let none = number.or(value.get_ref().as_str()).is_some_and(|text| {
            let unit = text.trim_start_matches('0');
            unit.len() < text.len() && matches!(unit, "" | "B" | "KiB" | "MiB" | "GiB")
        });
        if none { Some(Self(0)) } else { Size::read(value, out).map(|size| Self(size.0)) }
    }
}

/// `scheme://host[:port]`: no path, no query, no user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    text: String,
    scheme_end: usize,
}

impl Origin {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme_end]
    }
    /// The host without its port; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        let host = match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
            _ => authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> &str {
        &self.text[self.scheme_end + "://".len()..]
    }
}

impl FromStr for Origin {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let scheme_end = text.find("://").ok_or(NotUnderstood("a URL begins with https:// or http://"))?;
        if !matches!(&text[..scheme_end], "http" | "https") {
            return Err(NotUnderstood("a URL begins with https:// or http://"));
        }
        let authority = &text[scheme_end + 3..];
        if authority.contains(['/', '?', '#']) {
            return Err(NotUnderstood(
                "only scheme, host and port belong here, no path and no slash at the end",
            ));
        }
        if authority.contains('@') {
            return Err(NotUnderstood("no user and no password belong into a URL"));
        }
        if authority.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(NotUnderstood("the host is written in lower case"));
        }
        let parsed: http::uri::Authority =
            authority.parse().map_err(|_| NotUnderstood("this is no host with an optional port"))?;
        // `http` accepts any text behind the last colon as a port.
        let port = authority.strip_prefix(parsed.host()).unwrap_or_default();
        let port_is_good =
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        if parsed.host().is_empty() || !port_is_good {
            return Err(NotUnderstood("this is no host with an optional port"));
        }
        Ok(Self { text: text.to_owned(), scheme_end })
    }
}

/// The `aud` of an API's tokens: an absolute URI without a fragment (RFC 8707 section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience(pub(crate) String);

impl FromStr for Audience {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme, !rest.is_empty()));
        let printable =
            text.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'"' | b'\\' | b'<' | b'>'));
        match scheme {
            Some((scheme, true))
                if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
                    && printable
                    && !text.contains('#') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NotUnderstood(
                "an audience is an absolute URI without a fragment, as https://api.example/",
            )),
        }
    }
}

/// A file that is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRef(pub(crate) String);

impl FromStr for FileRef {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(Self(path.to_owned())),
            _ => Err(NotUnderstood("a file is written file:PATH")),
        }
    }
}

/// A host name as a `Host` header carries it, without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostName(pub(crate) String);

impl FromStr for HostName {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let address = text.parse::<std::net::IpAddr>().is_ok();
        if address || (text.len() <= 253 && text.split('.').all(label)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotUnderstood("a host name in lower case, without port and wildcard, belongs here"))
        }
    }
}

/// A directory; a relative one is relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathBufText(pub(crate) String);

impl FromStr for PathBufText {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        if text.is_empty() || text.contains('\0') {
            return Err(NotUnderstood("the path of a directory belongs here"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of an HTTP header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderText(pub(crate) http::HeaderName);

impl FromStr for HeaderText {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        // `from_lowercase` takes what HTTP/2 puts on the wire, and refuses capitals.
        match http::HeaderName::from_lowercase(text.as_bytes()) {
            Ok(name) => Ok(Self(name)),
            Err(_) => Err(NotUnderstood("a header name in lower case belongs here")),
        }
    }
}

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(pub(crate) String);

impl FromStr for DatabaseUrl {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() && !path.starts_with("//") && !path.contains('?') => {
                Ok(Self(path.to_owned()))
            }
            _ => Err(NotUnderstood("the database is written sqlite:PATH; other databases are not there yet")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} is good");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} is bad");
        }
    }

    #[test]
    fn values_are_read_strictly() {
        check::<Period>(
            &["1ms", "10s", "5m", "24h", "3650d"],
            &["", "s", "0s", "10", "-1s", "1.5s", "1 s", "3651d", "99999999999999999999s"],
        );
        check::<Size>(&["1B", "64KiB", "1GiB"], &["", "0B", "64", "64KB", "99999999999999999999B"]);
        check::<Origin>(
            &["https://localhost:8443", "http://127.0.0.1:8446", "https://api.example", "http://[::1]:8446"],
            &[
                "localhost:8443",
                "https://",
                "https://a/",
                "https://a/b",
                "https://a?b",
                "https://u@a",
                "https://A",
                "ftp://a",
                "https://a:",
                "https://a:99999",
                "https://a b",
            ],
        );
        check::<Audience>(
            &["https://localhost:8443/", "urn:bank:api"],
            &["", "bank", "https://a/#b", "https://a b", "1a:b", "a:"],
        );
        check::<HostName>(
            &["localhost", "api.example", "127.0.0.1", "::1"],
            &["", "*.example", "A.example", "a..b", "a:1", "-a"],
        );
        check::<DatabaseUrl>(
            &["sqlite:countersign.db"],
            &["", "sqlite:", "postgres://x", "sqlite://x", "sqlite:a?mode=ro"],
        );
        check::<FileRef>(&["file:a.pem"], &["a.pem", "file:"]);
    }

    #[test]
    fn an_origin_knows_its_parts() {
        let origin: Origin = "https://localhost:8443".parse().unwrap();
        assert_eq!((origin.scheme(), origin.authority()), ("https", "localhost:8443"));
    }
}
