//! Explains a refused head to callers and operators: its request line, and which field or method was not accepted.
//!
//! Read a second time, only when it was refused: the readers of the data path say no more than that a head is not in order.
//! The caller is told of his own request and nothing else; what he sent is cut and has plain characters only.

use super::head::{MAX_CONNECTION_OPTIONS, TargetFault, fault_of_target, is_accepted};
use countersign_model::ReasonCode;
use countersign_policy::Denial;
use countersign_policy::header_names::{is_plain, is_plain_byte};
use http::{Method, Uri};

/// How much of a name or method is told.
const MOST: usize = 64;

/// What could be read of a head that was refused.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    /// The request line, where it is one.
    pub(crate) request: Option<(Method, Uri)>,
    told: Option<Told>,
}

/// What is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Name(String),
    Options(usize),
    Method(String),
    Target(TargetFault),
}

impl Explained {
    /// Reads the head at the front of `bytes`, which was refused for `reason`.
    pub(crate) fn of(bytes: &[u8], reason: ReasonCode) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let mut lines = bytes[..end].split(|&byte| byte == b'\n').map(|line| line.trim_ascii_end());
        let line = lines.next().unwrap_or_default();
        let mut words = line.split(|&byte| byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let told = match reason {
            ReasonCode::RequestHeaderInvalid => fault_of_fields(lines),
            ReasonCode::RequestMalformed if !method.is_empty() && words.next().is_some() => {
                let is_fault = !std::str::from_utf8(method).is_ok_and(is_accepted);
                is_fault.then(|| Told::Method(shown(method)))
            }
            ReasonCode::RequestPathInvalid | ReasonCode::RequestQueryInvalid => {
                fault_of_target(target).map(Told::Target)
            }
            _ => None,
        };
        let request = Method::from_bytes(method).ok().zip(Uri::try_from(target).ok());
        Self { request, told }
    }

    /// The refusal.
    pub(crate) fn denial(&self, reason: ReasonCode) -> Denial {
        let denial = Denial::new(reason);
        match &self.told {
            Some(told) => told.tell(denial),
            None => denial,
        }
    }
}

impl Told {
    fn tell(&self, denial: Denial) -> Denial {
        match self {
            Self::Name(name) => {
                let fault = name.chars().find(|c| !u8::try_from(*c).is_ok_and(is_plain_byte));
                let fault = fault.map_or_else(String::new, |fault| fault.to_string());
                denial.told(
                    format!("The header name `{name}` contains `{fault}`. Use letters, digits, `-` and `_`."),
                    None,
                )
            }
            Self::Options(options) => denial.told(
                format!(
                    "`Connection` lists {options} options. At most {MAX_CONNECTION_OPTIONS} are accepted."
                ),
                Some("Name only the fields in `Connection` that are of this connection alone."),
            ),
            Self::Method(method) => denial.told(
                format!("The method `{method}` is not accepted."),
                Some("Use a method that the API takes, in capitals, such as GET or POST."),
            ),
            Self::Target(fault) => {
                let (part, byte) = (part(*fault), fault.byte);
                let character = match byte {
                    b'"' => "a quotation mark".to_owned(),
                    b'\\' => "a backslash".to_owned(),
                    0x80.. => "a character beyond ASCII".to_owned(),
                    _ if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
                    _ => "a space or a control character".to_owned(),
                };
                denial.told(
                    format!("The {part} contains {character}. Send it percent-encoded, as `%{byte:02X}`."),
                    Some(ENCODE),
                )
            }
        }
    }
}

/// The refusal of a header name, of a head or of trailers, over either version of HTTP.
pub(crate) fn name_refused(name: &[u8]) -> Denial {
    Told::Name(shown(name)).tell(Denial::new(ReasonCode::RequestHeaderInvalid))
}

/// The refusal of a method.
pub(crate) fn method_refused(method: &str) -> Denial {
    Told::Method(shown(method.as_bytes())).tell(Denial::new(ReasonCode::RequestMalformed))
}

/// The refusal of a target over HTTP/2, where a `#` was made a backslash on its way (`fragments`).
pub(crate) fn target_refused(fault: TargetFault) -> Denial {
    let denial = Denial::new(fault.reason());
    if fault.byte != b'\\' {
        return Told::Target(fault).tell(denial);
    }
    let part = part(fault);
    let detail =
        format!("The {part} contains `#` or a backslash. Send them percent-encoded, as `%23` or `%5C`.");
    denial.told(detail, Some(ENCODE))
}

const ENCODE: &str = "Percent-encode the address, as URL libraries do. A fragment is not sent at all.";

fn part(fault: TargetFault) -> &'static str {
    if fault.in_query { "query" } else { "path" }
}

fn fault_of_fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Told> {
    let mut options = 0;
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_plain(name) {
            return Some(Told::Name(shown(name)));
        }
        if name.eq_ignore_ascii_case(b"connection") {
            options += 1 + value.iter().filter(|&&byte| byte == b',').count();
        }
    }
    (options > MAX_CONNECTION_OPTIONS).then_some(Told::Options(options))
}

/// Cut, and with `?` for what is not printable or would end a string (rule G11; RFC 6749 section 5.2 has the same set).
/// The cut falls behind the first character that is not accepted, or the reader would not find it.
fn shown(bytes: &[u8]) -> String {
    let plain =
        |byte: &u8| if byte.is_ascii_graphic() && !b"\"\\".contains(byte) { char::from(*byte) } else { '?' };
    let mut shown: String = bytes.iter().take(MOST).map(plain).collect();
    if bytes.len() > MOST {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(head: &str, reason: ReasonCode) -> (Option<String>, Option<String>) {
        let explained = Explained::of(head.as_bytes(), reason);
        let request = explained.request.as_ref().map(|(method, uri)| format!("{method} {}", uri.path()));
        (request, explained.denial(reason).operator_note().map(str::to_owned))
    }

    #[test]
    fn rule_g11_what_is_told_of_a_refused_head_is_bounded_and_printable() {
        use ReasonCode::{RequestHeaderInvalid as Header, RequestMalformed as Malformed};
        let long = "x".repeat(5000);
        let many = format!("GET /a HTTP/1.1\r\nConnection: a{}\r\n\r\n", ",a".repeat(40));
        for (head, reason, request, told) in [
            (
                "GET /a?b HTTP/1.1\r\nX.Y: v\r\n\r\n",
                Header,
                Some("GET /a"),
                Some("The header name `X.Y` contains `.`"),
            ),
            (
                "GET /a HTTP/1.1\r\nB\u{1}\u{e9}\"d: v\r\n\r\n",
                Header,
                Some("GET /a"),
                Some("`B????d` contains `?`"),
            ),
            (&many, Header, Some("GET /a"), Some("lists 41 options. At most 32")),
            ("GET /a HTTP/1.1\r\nA: \u{1}\r\n\r\n", Header, Some("GET /a"), None),
            (
                "TRACK /a HTTP/1.1\r\n\r\n",
                Malformed,
                Some("TRACK /a"),
                Some("The method `TRACK` is not accepted"),
            ),
            ("get /a HTTP/1.1\r\n\r\n", Malformed, Some("get /a"), Some("The method `get`")),
            ("GET /a#b HTTP/1.1\r\n\r\n", Malformed, Some("GET /a"), None),
            ("\u{1}\u{2}", Malformed, None, None),
            ("", Malformed, None, None),
        ] {
            let (seen, note) = explained(head, reason);
            assert_eq!(seen.as_deref(), request, "{head:?}");
            assert_eq!(note.is_some(), told.is_some(), "{head:?}: {note:?}");
            assert!(note.unwrap_or_default().contains(told.unwrap_or_default()), "{head:?}");
        }
        let (_, note) = explained(&format!("GET / HTTP/1.1\r\n.{long}: v\r\n\r\n"), Header);
        assert!(note.unwrap().len() < 200);
    }
}
