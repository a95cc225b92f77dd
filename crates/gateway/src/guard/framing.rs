//! Message boundaries of HTTP/1.1, read strictly (RFC 9112; rule G12). Pure: bytes in, judgements out.
//!
//! hyper by itself lets pass what we must not (measured, design section 6): Content-Length beside Transfer-Encoding,
//! a repeated `chunked`, lines that end in a bare LF, a missing or repeated Host, a foreign absolute form, a fragment,
//! CONNECT, TRACE, lower-case methods. This reader refuses them, and everything that hyper refuses too, so that every
//! head it lets pass becomes exactly one call of the service: the ordinals of both stay equal.
//!
//! What it refuses to do: change a byte. What passes here goes on as it came.

use super::head::{self, BodyLength};
use super::limits::FramingLimits;
use countersign_model::ReasonCode;
use countersign_policy::header_names::is_plain_byte;

/// What was found at the front of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The first so many bytes are well formed and may go on. Never zero.
    Pass(usize),
    /// A head that is not complete yet: hold all of it back.
    Incomplete,
    /// No way on from here.
    Refused(ReasonCode),
}

/// Reads the messages of one connection.
#[derive(Debug)]
pub struct Framing {
    limits: FramingLimits,
    state: State,
    heads: u64,
    empty_line_seen: bool,
    /// How much of an incomplete head was looked at.
    seen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Fixed { remaining: u64 },
    Chunked { at: ChunkAt, total: u64, overhead: usize, trailers: usize },
}

/// Where in a chunked body we are (RFC 9112 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkAt {
    Size { digits: u8, value: u64 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { remaining: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer { colon: bool },
    TrailerLf { last: bool },
}

impl Framing {
    /// A connection that has sent nothing yet.
    pub fn new(limits: FramingLimits) -> Self {
        Self { limits, state: State::Head, heads: 0, empty_line_seen: false, seen: 0 }
    }

    /// How many heads were passed.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte begins a new message.
    pub fn between_messages(&self) -> bool {
        self.state == State::Head
    }

    /// Judges the front of `bytes`, which follow on what was passed before. `bytes` is not empty.
    pub fn judge(&mut self, bytes: &[u8]) -> Judgement {
        match self.state {
            State::Head => self.judge_head(bytes),
            State::Fixed { remaining } => {
                let pass = remaining.min(bytes.len() as u64);
                self.body_or_next(remaining - pass);
                Judgement::Pass(pass as usize)
            }
            State::Chunked { at, total, overhead, trailers } => {
                self.judge_chunked(bytes, ChunkReader { at, total, overhead, trailers, limits: self.limits })
            }
        }
    }

    fn judge_head(&mut self, bytes: &[u8]) -> Judgement {
        // RFC 9112 section 2.2: one empty line before the request line is tolerated.
        if bytes[0] == b'\r' {
            return match bytes.get(1) {
                None => Judgement::Incomplete,
                Some(b'\n') if !self.empty_line_seen => {
                    self.empty_line_seen = true;
                    Judgement::Pass(2)
                }
                Some(_) => Judgement::Refused(ReasonCode::RequestMalformed),
            };
        }
        // Without a new line end there is nothing new to judge. A head that drips in is so read once for each of its
        // lines, not once for each of its bytes.
        let new = bytes.get(self.seen..).unwrap_or(bytes);
        if !new.contains(&b'\n') && bytes.len() < self.limits.head_bytes {
            self.seen = bytes.len();
            return Judgement::Incomplete;
        }
        match head::read(bytes, &self.limits) {
            Ok(Some((length, body))) => {
                self.heads += 1;
                self.seen = 0;
                self.empty_line_seen = false;
                match body {
                    BodyLength::Fixed(remaining) => self.body_or_next(remaining),
                    BodyLength::Chunked => {
                        let at = ChunkAt::Size { digits: 0, value: 0 };
                        self.state = State::Chunked { at, total: 0, overhead: 0, trailers: 0 };
                    }
                }
                Judgement::Pass(length)
            }
            Ok(None) => {
                self.seen = bytes.len();
                Judgement::Incomplete
            }
            Err(reason) => Judgement::Refused(reason),
        }
    }

    fn body_or_next(&mut self, remaining: u64) {
        self.state = if remaining == 0 { State::Head } else { State::Fixed { remaining } };
    }

    fn judge_chunked(&mut self, bytes: &[u8], mut reader: ChunkReader) -> Judgement {
        match reader.read(bytes) {
            Ok(Progress { used, ended }) => {
                self.state = if ended {
                    State::Head
                } else {
                    let ChunkReader { at, total, overhead, trailers, .. } = reader;
                    State::Chunked { at, total, overhead, trailers }
                };
                Judgement::Pass(used)
            }
            Err(reason) => Judgement::Refused(reason),
        }
    }
}

struct Progress {
    used: usize,
    ended: bool,
}

struct ChunkReader {
    at: ChunkAt,
    total: u64,
    overhead: usize,
    trailers: usize,
    limits: FramingLimits,
}

impl ChunkReader {
    /// Reads until the bytes or the body end. Nothing of `bytes` passes when any of it is refused: the connection ends.
    fn read(&mut self, bytes: &[u8]) -> Result<Progress, ReasonCode> {
        const AMBIGUOUS: ReasonCode = ReasonCode::RequestFramingAmbiguous;
        let mut i = 0;
        while let Some(&byte) = bytes.get(i) {
            i += 1;
            self.at = match (self.at, byte) {
                (ChunkAt::Size { digits, value }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    // 15 digits: no size overflows, and none is hidden behind leading zeros for long.
                    if digits == 15 {
                        return Err(AMBIGUOUS);
                    }
                    let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                    ChunkAt::Size { digits: digits + 1, value: value << 4 | digit }
                }
                (ChunkAt::Size { digits: 1.., value }, b'\r') => ChunkAt::SizeLf { value },
                (ChunkAt::Size { digits: 1.., value }, b';') => ChunkAt::Extension { value },
                (ChunkAt::Extension { value }, b'\r') => ChunkAt::SizeLf { value },
                // Extensions are skipped by everybody; what breaks lines in some readers is refused.
                (ChunkAt::Extension { value }, b'\t' | b' '..=b'~' | 0x80..) => {
                    self.count_overhead()?;
                    ChunkAt::Extension { value }
                }
                (ChunkAt::SizeLf { value: 0 }, b'\n') => ChunkAt::TrailerStart,
                (ChunkAt::SizeLf { value }, b'\n') => {
                    self.total = self.total.saturating_add(value);
                    if self.total > self.limits.body_bytes {
                        return Err(ReasonCode::RequestBodyTooLarge);
                    }
                    ChunkAt::Data { remaining: value }
                }
                (ChunkAt::Data { remaining }, _) => {
                    let available = (bytes.len() - (i - 1)) as u64;
                    let taken = remaining.min(available);
                    i += taken as usize - 1;
                    if taken == remaining {
                        ChunkAt::DataCr
                    } else {
                        ChunkAt::Data { remaining: remaining - taken }
                    }
                }
                (ChunkAt::DataCr, b'\r') => ChunkAt::DataLf,
                (ChunkAt::DataLf, b'\n') => ChunkAt::Size { digits: 0, value: 0 },
                (ChunkAt::TrailerStart, b'\r') => ChunkAt::TrailerLf { last: true },
                (ChunkAt::TrailerStart, byte) if is_plain_byte(byte) => {
                    self.count_trailer()?;
                    self.count_overhead()?;
                    ChunkAt::Trailer { colon: false }
                }
                (ChunkAt::Trailer { colon: false }, b':') => ChunkAt::Trailer { colon: true },
                (ChunkAt::Trailer { colon: false }, byte) if is_plain_byte(byte) => {
                    self.count_overhead()?;
                    ChunkAt::Trailer { colon: false }
                }
                // Rule G19, as in the head.
                (ChunkAt::TrailerStart | ChunkAt::Trailer { colon: false }, byte) if head::is_token(byte) => {
                    return Err(ReasonCode::RequestHeaderInvalid);
                }
                (ChunkAt::Trailer { colon: true }, b'\r') => ChunkAt::TrailerLf { last: false },
                (ChunkAt::Trailer { colon: true }, b'\t' | b' '..=b'~' | 0x80..) => {
                    self.count_overhead()?;
                    ChunkAt::Trailer { colon: true }
                }
                (ChunkAt::TrailerLf { last: false }, b'\n') => ChunkAt::TrailerStart,
                (ChunkAt::TrailerLf { last: true }, b'\n') => return Ok(Progress { used: i, ended: true }),
                _ => return Err(AMBIGUOUS),
            };
        }
        Ok(Progress { used: i, ended: false })
    }

    /// hyper ends the body with an error at one field more than it takes in a head, and then the connection (found by
    /// fuzzing): the caller would be told nothing.
    fn count_trailer(&mut self) -> Result<(), ReasonCode> {
        self.trailers += 1;
        if self.trailers > self.limits.header_count {
            return Err(ReasonCode::RequestHeaderTooLarge);
        }
        Ok(())
    }

    fn count_overhead(&mut self) -> Result<(), ReasonCode> {
        self.overhead += 1;
        if self.overhead > self.limits.chunk_overhead_bytes {
            return Err(ReasonCode::RequestHeaderTooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Judges `bytes` cut into pieces of `step`, as a connection would bring them.
    fn run(bytes: &[u8], step: usize) -> Result<u64, ReasonCode> {
        let mut framing = Framing::new(FramingLimits::default());
        let mut held: Vec<u8> = Vec::new();
        for piece in bytes.chunks(step) {
            held.extend_from_slice(piece);
            while !held.is_empty() {
                match framing.judge(&held) {
                    Judgement::Pass(n) => drop(held.drain(..n)),
                    Judgement::Incomplete => break,
                    Judgement::Refused(reason) => return Err(reason),
                }
            }
        }
        Ok(if framing.between_messages() && held.is_empty() { framing.heads() } else { u64::MAX })
    }

    fn chunked(body: &str) -> Result<u64, ReasonCode> {
        let mut message = POST.to_vec();
        message.extend_from_slice(body.as_bytes());
        let whole = run(&message, usize::MAX);
        assert_eq!(whole, run(&message, 1), "cut into bytes: {body:?}");
        whole
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let mut bytes = [GET, POST].concat();
        bytes.extend_from_slice(b"3\r\nabc\r\n0\r\n\r\n\r\n");
        bytes.extend_from_slice(b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET ");
        bytes.extend_from_slice(GET);
        for step in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(run(&bytes, step), Ok(4), "step {step}");
        }
    }

    #[test]
    fn rule_g15_trailer_fields_are_limited_like_header_fields() {
        let trailers = |count| chunked(&format!("0\r\n{}\r\n", "a:\r\n".repeat(count)));
        assert_eq!(trailers(100), Ok(1));
        assert_eq!(trailers(101), Err(ReasonCode::RequestHeaderTooLarge));
    }

    #[test]
    fn rule_g19_trailer_fields_have_plain_names_too() {
        for name in ["X.Y", "!x", "Countersign|Client|Id"] {
            assert_eq!(
                chunked(&format!("0\r\n{name}: v\r\n\r\n")),
                Err(ReasonCode::RequestHeaderInvalid),
                "{name}"
            );
        }
    }

    #[test]
    fn rule_g12_invalid_chunk_framing_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\n",
            "1\r\r",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\rb",
            "1;a\nb\r\n",
            "1;\0\r\n",
            "1000000000000000\r\n",
            "00000000000000001\r\n",
            "0\r\n a: b\r\n\r\n",
            "0\r\na b: c\r\n\r\n",
            "0\r\nabc\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: \0\r\n\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(chunked(body), Err(ReasonCode::RequestFramingAmbiguous), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_pass_within_bounds() {
        assert_eq!(chunked("1;name=\"v\"\r\na\r\n0\r\nDigest: x\r\n\r\n"), Ok(1));
        let long = "a".repeat(9000);
        assert_eq!(chunked(&format!("1;{long}\r\n")), Err(ReasonCode::RequestHeaderTooLarge));
        assert_eq!(chunked(&format!("0\r\na: {long}\r\n")), Err(ReasonCode::RequestHeaderTooLarge));
    }

    #[test]
    fn rule_g15_chunks_over_the_body_limit_are_refused_before_their_data() {
        assert_eq!(chunked("A00001\r\n"), Err(ReasonCode::RequestBodyTooLarge));
        assert_eq!(chunked("fffffffffffffff\r\n"), Err(ReasonCode::RequestBodyTooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_cutting_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), Just(b':'), Just(b' '), any::<u8>()
            ], 0..200),
            step in 1usize..20,
        ) {
            let message = [POST, &bytes].concat();
            prop_assert_eq!(run(&message, step), run(&message, message.len()));
        }
    }
}
