//! Paths: what a prefix must look like, and which request paths are refused because the upstream could read them
//! differently than we did.
//!
//! The rule is RFC 3986 section 6.2.2 turned round: a path that is not in normal form is refused, not normalised.
//! Otherwise `/data/%61dmin/`, `/data//admin/` or `/data/;/admin/` would match the route of `/data/` here and be
//! `/data/admin/` behind us, where another route with other scopes should have decided.

use crate::denial::Denial;
use countersign_model::ReasonCode;
use percent_encoding::percent_decode_str;

/// The longest prefix that can be configured, in segments: bounds the look-ups that a request can cause.
pub(super) const MAX_SEGMENTS: usize = 16;

/// Paths that we serve ourselves (design, decision 25).
const RESERVED: [&str; 4] = ["/oauth2/", "/.well-known/", "/pki/", "/problems/"];

/// Why a prefix is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathMistake {
    /// It does not begin and end with a slash.
    #[error("a path begins and ends with a slash")]
    Slashes,
    /// It could be read in two ways.
    #[error("a path is in normal form: {0}")]
    NotNormal(&'static str),
    /// It has too many segments.
    #[error("a path has at most 16 segments")]
    TooDeep,
    /// It lies in a part that we serve ourselves.
    #[error("paths below {0} are reserved")]
    Reserved(&'static str),
}

/// Checks the form of a configured path.
pub(super) fn check_form(path: &str) -> Result<(), PathMistake> {
    if !path.starts_with('/') || !path.ends_with('/') {
        return Err(PathMistake::Slashes);
    }
    ambiguity(path).map_or(Ok(()), |what| Err(PathMistake::NotNormal(what)))?;
    if segments(path) > MAX_SEGMENTS { Err(PathMistake::TooDeep) } else { Ok(()) }
}

/// Checks a configured prefix. What may be written with and without a percent sign, or with either case of its digits,
/// cannot be in one: the other spelling would be another route's, and the same path to the upstream (RFC 3986 section
/// 6.2.2). Unreserved characters have one spelling, because requests that encode them are refused.
pub(super) fn check_prefix(path: &str) -> Result<(), PathMistake> {
    check_form(path)?;
    let one_spelling = |c: u8| c.is_ascii_alphanumeric() || b"-._~/".contains(&c);
    if !path.bytes().all(one_spelling) {
        return Err(PathMistake::NotNormal("letters, digits, `-`, `.`, `_`, `~` and slashes only"));
    }
    match RESERVED.into_iter().find(|reserved| path.starts_with(reserved)) {
        Some(reserved) => Err(PathMistake::Reserved(reserved)),
        None => Ok(()),
    }
}

fn segments(path: &str) -> usize {
    path.bytes().filter(|&c| c == b'/').count() - 1
}

/// Checks the path of a request: everything that an upstream could decode or collapse into another path is refused.
///
/// # Errors
/// `request_path_invalid`, with a note that says what it was.
pub fn check_path(path: &str) -> Result<(), Denial> {
    match ambiguity(path) {
        None => Ok(()),
        Some(what) => Err(Denial::new(ReasonCode::RequestPathInvalid).note(what)),
    }
}

/// One pass over the bytes; the happy path is a table of harmless ones.
fn ambiguity(path: &str) -> Option<&'static str> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Some("it begins with a slash");
    }
    let mut segment_start = 1;
    let mut beyond_ascii = false;
    let mut i = 1;
    while i <= bytes.len() {
        match bytes.get(i) {
            None | Some(b'/') => {
                match &bytes[segment_start..i] {
                    b"" if i < bytes.len() => return Some("no empty segments"),
                    b"." | b".." => return Some("no dot segments"),
                    _ => {}
                }
                segment_start = i + 1;
            }
            Some(b'%') => {
                match encoded(bytes, i) {
                    Ok(octet) => beyond_ascii |= !octet.is_ascii(),
                    Err(what) => return Some(what),
                }
                i += 2;
            }
            // Path parameters: some servers cut them off before they look at the segment (`/..;/`).
            Some(b';') => return Some("no path parameters"),
            Some(b'\\') => return Some("no backslashes"),
            Some(b'?' | b'#') => return Some("no query and no fragment"),
            Some(0x21..=0x7e) => {}
            Some(_) => return Some("printable ASCII only"),
        }
        i += 1;
    }
    // `%c0%ae` is a dot to a decoder that takes overlong forms.
    let utf8 = !beyond_ascii || percent_decode_str(path).decode_utf8().is_ok();
    if utf8 { None } else { Some("UTF-8 only") }
}

/// The octet of the percent-encoding that begins at `at`, or what is wrong with it.
fn encoded(bytes: &[u8], at: usize) -> Result<u8, &'static str> {
    let octet = decode(bytes, at).ok_or("percent signs only in encodings")?;
    match octet {
        // RFC 3986 section 6.2.2.2: these have no reason to be encoded, but to look different from what they are.
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            Err("no encoded letters, digits and dots")
        }
        b'/' | b'\\' | b';' => Err("no encoded separators"),
        0..0x20 | 0x7f => Err("no control characters"),
        // `%252e` is `%2e` after one decoding and `.` after the second.
        b'%' if bytes.len() >= at + 5 && hex(bytes[at + 3]).is_some() && hex(bytes[at + 4]).is_some() => {
            Err("no double encodings")
        }
        _ => Ok(octet),
    }
}

fn decode(bytes: &[u8], at: usize) -> Option<u8> {
    Some(hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?)
}

const fn hex(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_in_normal_form_is_accepted() {
        for path in [
            "/",
            "/data/",
            "/data/accounts",
            "/a/b.c/d..e/...",
            "/x/%20y/%C3%A9",
            "/100%25",
            "/a%25/b",
            "/~user/@me:x,y=z!$&'()*+",
        ] {
            assert!(check_path(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_path_that_the_upstream_could_read_differently_is_refused() {
        for path in [
            "",
            "*",
            "data/",
            "/data//admin/",
            "//",
            "/./x",
            "/../x",
            "/data/..",
            "/data/.",
            "/data/%2e%2e/x",
            "/data/%2E/x",
            "/data/.%2e/x",
            "/data/%61dmin/",
            "/data/%2fadmin",
            "/data/%5Cadmin",
            "/data\\admin",
            "/data/%00",
            "/data/%0d%0a",
            "/data/%7f",
            "/data/;x/admin",
            "/data/..;/admin",
            "/data/%3bx",
            "/data/%252e%252e/",
            "/data/%25252e",
            "/data/%",
            "/data/%2",
            "/data/%zz",
            "/data/\u{e9}",
            "/data/\u{7f}",
            "/da ta/",
            "/data/%c3%28",
            "/data/%c0%ae%c0%ae/",
            "/data/%e9",
            "/data?x",
            "/data#x",
        ] {
            let denial = check_path(path).expect_err(path);
            assert_eq!(denial.reason(), ReasonCode::RequestPathInvalid, "{path}");
            assert!(denial.operator_note().is_some(), "{path}");
        }
    }

    #[test]
    fn a_prefix_has_a_bounded_depth() {
        let deep = |n: usize| format!("/{}", "a/".repeat(n));
        assert_eq!(check_prefix(&deep(MAX_SEGMENTS)), Ok(()));
        assert_eq!(check_prefix(&deep(MAX_SEGMENTS + 1)), Err(PathMistake::TooDeep));
        assert_eq!(check_prefix("/data/?x/"), Err(PathMistake::NotNormal("no query and no fragment")));
    }

    #[test]
    fn a_prefix_has_one_spelling() {
        assert_eq!(check_prefix("/a-z/A.9/_~/"), Ok(()));
        for prefix in
            ["/a:b/", "/@me/", "/a,b/", "/wow!/", "/%C3%A9/", "/%20/", "/a=b/", "/(x)/", "/a'/", "/[x]/"]
        {
            assert!(matches!(check_prefix(prefix), Err(PathMistake::NotNormal(_))), "{prefix}");
        }
    }

    proptest! {
        /// What is accepted means the same before and after decoding, collapsing and cutting off parameters.
        #[test]
        fn an_accepted_path_survives_a_careless_upstream(path in "/[a.%25EefF2c/;\\\\]{0,24}") {
            if check_path(&path).is_ok() {
                let once: String = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into();
                let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
                prop_assert_eq!(segments(&path).len(), segments(&once).len());
                prop_assert!(!once.contains(";") && !once.contains('\\') && !once.contains("//"));
                prop_assert!(segments(&once).iter().all(|segment| segment != "." && segment != ".."));
                let twice: String = percent_encoding::percent_decode_str(&once).decode_utf8_lossy().into();
                prop_assert_eq!(once, twice);
            }
        }
    }
}
