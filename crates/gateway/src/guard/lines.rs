//! Lines of a head that readers split or join differently: NUL, a bare CR or LF, a folded line, a space before the colon
//! (RFC 9112 sections 2.2, 5.1 and 5.2). Each is refused. It is an incident where one of the fields is concerned that say
//! where a request ends or to whom it goes, because smuggling is made of these; elsewhere it is a broken program.

use countersign_model::ReasonCode;

/// The fields that say where a request ends, and to whom it goes.
const OF_FRAMING: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];

/// Why a head is refused that has such a line; `None` when it has none.
pub(super) fn fault(bytes: &[u8]) -> Option<ReasonCode> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes, |end| &bytes[..end + 2]);
    let mut is_faulty = false;
    let mut concerns_framing = false;
    let mut name: &[u8] = b"";
    let mut rest = head;
    // Whether the line end before was one that not every reader takes for one.
    let mut began_oddly = false;
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        let is_crlf = after.starts_with(b"\r\n");
        let ends_oddly = !after.is_empty() && !is_crlf;
        let is_folded = matches!(line.first(), Some(b' ' | b'\t')) && rest.len() < head.len();
        let colon = line.iter().position(|&byte| byte == b':');
        if !is_folded {
            name = line[..colon.unwrap_or(0)].trim_ascii();
        }
        let has_space = !is_folded
            && colon.is_some_and(|colon| line[..colon].ends_with(b" ") || line[..colon].ends_with(b"\t"));
        if is_folded || has_space || began_oddly || ends_oddly || line.contains(&0) {
            is_faulty = true;
            // A folded line goes on with the field before it, or is a field of its own to readers that trim.
            let own = line[..colon.unwrap_or(0)].trim_ascii();
            concerns_framing |= [name, own].into_iter().any(is_of_framing);
        }
        began_oddly = ends_oddly;
        rest = after.get(if is_crlf { 2 } else { 1 }..).unwrap_or_default();
    }
    match (is_faulty, concerns_framing) {
        (false, _) => None,
        (true, true) => Some(ReasonCode::RequestFramingAmbiguous),
        (true, false) => Some(ReasonCode::RequestHeaderInvalid),
    }
}

fn is_of_framing(name: &[u8]) -> bool {
    let is_name = |field: &&[u8]| {
        name.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).eq(field.iter().copied())
    };
    OF_FRAMING.iter().any(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g12_what_readers_disagree_about_is_an_incident_where_it_concerns_framing() {
        let of = |lines: &str| {
            fault(format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}A: b\r\n\r\nbody\n").as_bytes())
        };
        for (fault, name) in
            [("\0", 0), ("\n", 0), ("\r", 0), ("\r\n ", 0), ("\r\n\t", 0), (" :", 1), ("\t:", 1)]
                .map(|(fault, of_name)| (fault, of_name == 1))
        {
            let line = |field: &str, value: &str| match name {
                true => format!("{field}{fault} {value}\r\n"),
                false => format!("{field}: {fault}{value}\r\n"),
            };
            assert_eq!(of(&line("X-A", "b")), Some(ReasonCode::RequestHeaderInvalid), "{fault:?}");
            for (field, value) in [("Content-Length", "4"), ("transfer-ENCODING", "chunked"), ("host", "y")] {
                let shown = line(field, value);
                assert_eq!(of(&shown), Some(ReasonCode::RequestFramingAmbiguous), "{shown:?}");
            }
        }
        // A line that some reader sees only because of the fault.
        for hidden in
            ["X: a\nContent-Length: 4\r\n", "X: a\rTransfer-Encoding: chunked\r\n", "Content\0-Length: 4\r\n"]
        {
            assert_eq!(of(hidden), Some(ReasonCode::RequestFramingAmbiguous), "{hidden:?}");
        }
        for good in ["", "X: a: b : c\r\n", "Y:  d \r\n", "Bad Name: x\r\n"] {
            assert_eq!(of(good), None, "{good:?}");
        }
        assert_eq!(fault(b"GET / HTTP/1.1\nA: b\n\n"), Some(ReasonCode::RequestHeaderInvalid));
        assert_eq!(fault(b""), None);
    }
}
