//! Fragments in the targets of HTTP/2 requests (RFC 9113 section 8.3.1: `:path` has none), which the http crate cuts off
//! before anybody sees them. On HTTP/1.1 the guard refuses them.
//!
//! Header blocks are read as they come in, no further than is needed to find each `:path` (RFC 7541): names by their index,
//! strings by their length. Where a `#` stands in one, another character takes its place, one that no target may have: `\`,
//! which the service refuses with 400, or in a string with Huffman coding `>`, whose code is as long, and for which h2 ends
//! the stream. So nothing has to be held back, and the tables of both readers stay equal.

use memchr::memchr;

/// What a client sends before its first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const PATH: &[u8] = b":path";
/// The same with Huffman coding.
const PATH_CODED: &[u8] = &[0xb9, 0x58, 0xd3, 0x3f];
/// The first index of the dynamic table (RFC 7541 section 2.3.3).
const DYNAMIC: u32 = 62;

/// Reads what a client sends on one connection.
#[derive(Debug)]
pub(crate) struct Fragments {
    /// How much is passed over: the preface, payloads of no interest, padding.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    /// Of a HEADERS frame: whether its first byte, which says how long the padding is, is still to come, and how much of
    /// the header block.
    padded: bool,
    block: usize,
    padding: usize,
    fields: Fields,
}

impl Default for Fragments {
    fn default() -> Self {
        let fields =
            Fields { step: Step::Field, kept: false, is_path: false, paths: 0, name: [0; PATH.len()] };
        Self { skip: PREFACE, head: [0; HEAD], have: 0, padded: false, block: 0, padding: 0, fields }
    }
}

impl Fragments {
    /// Reads on, and changes each `#` in a `:path`.
    pub(crate) fn read(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = if self.padded {
                self.padded = false;
                self.padding = usize::from(bytes[0]).min(self.block);
                self.block -= self.padding;
                1
            } else if self.skip > 0 {
                let taken = self.skip.min(bytes.len());
                self.skip -= taken;
                taken
            } else if self.block > 0 {
                let taken = self.block.min(bytes.len());
                self.fields.read(&mut bytes[..taken]);
                self.block -= taken;
                taken
            } else if self.padding > 0 {
                self.skip = std::mem::take(&mut self.padding);
                0
            } else {
                let taken = (HEAD - self.have).min(bytes.len());
                self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                if self.have == HEAD {
                    self.begin_frame();
                }
                taken
            };
            bytes = &mut bytes[taken..];
        }
    }

    fn begin_frame(&mut self) {
        self.have = 0;
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            HEADERS => {
                self.fields.step = Step::Field;
                self.padded = flags & PADDED != 0 && length > 0;
                let before = if flags & PRIORITY != 0 { 5 } else { 0 };
                let rest = length - usize::from(self.padded);
                self.skip = before.min(rest);
                self.block = rest - self.skip;
            }
            CONTINUATION => self.block = length,
            _ => self.skip = length,
        }
    }
}

/// Reads header blocks (RFC 7541 section 6).
#[derive(Debug)]
struct Fields {
    step: Step,
    /// Of the field that is read: whether the dynamic table keeps it, and whether it is `:path`.
    kept: bool,
    is_path: bool,
    /// Which entries of the dynamic table are named `:path`, the newest at bit 0: there are 128 at most (section 4.1:
    /// each counts 32 octets of 4,096). What evicts entries does not change how the others are counted.
    paths: u128,
    name: [u8; PATH.len()],
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The first byte of a field.
    Field,
    /// An integer that goes on (section 5.1).
    Integer {
        of: Of,
        value: u32,
        shift: u32,
    },
    /// The first byte of a string: coding and length.
    String {
        is_name: bool,
    },
    Name {
        coded: bool,
        length: u32,
        have: u32,
    },
    Value {
        coded: bool,
        left: u32,
        bits: u32,
        count: u32,
    },
    /// No header block of this can be read: h2 ends the connection.
    Lost,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    /// An indexed field, or a size of the table: nothing follows.
    Nothing,
    NameIndex,
    Length {
        is_name: bool,
        coded: bool,
    },
}

impl Fields {
    fn read(&mut self, mut bytes: &mut [u8]) {
        while let [first, ..] = bytes {
            let first = *first;
            let taken = match self.step {
                Step::Field => {
                    self.begin_field(first);
                    1
                }
                Step::Integer { of, value, shift } => {
                    let value = value.saturating_add(u32::from(first & 0x7f) << shift);
                    self.step = match (first & 0x80 == 0, shift) {
                        (true, _) => self.after_integer(of, value),
                        (false, 0..21) => Step::Integer { of, value, shift: shift + 7 },
                        (false, _) => Step::Lost,
                    };
                    1
                }
                Step::String { is_name } => {
                    let of = Of::Length { is_name, coded: first & 0x80 != 0 };
                    self.step = self.integer(of, first, 0x7f);
                    1
                }
                Step::Name { coded, length, have } => {
                    let taken = bytes.len().min((length - have) as usize);
                    for (at, byte) in (have as usize..).zip(&bytes[..taken]) {
                        if let Some(kept) = self.name.get_mut(at) {
                            *kept = *byte;
                        }
                    }
                    self.step = match have + taken as u32 {
                        have if have == length => self.after_name(coded, length),
                        have => Step::Name { coded, length, have },
                    };
                    taken
                }
                Step::Value { coded, left, mut bits, mut count } => {
                    let taken = bytes.len().min(left as usize);
                    if self.is_path && coded {
                        bytes[..taken].iter_mut().for_each(|byte| replace_coded(byte, &mut bits, &mut count));
                    } else if self.is_path {
                        replace(&mut bytes[..taken]);
                    }
                    self.step = match left - taken as u32 {
                        0 => self.after_value(),
                        left => Step::Value { coded, left, bits, count },
                    };
                    taken
                }
                Step::Lost => return,
            };
            bytes = &mut bytes[taken..];
        }
    }

    fn begin_field(&mut self, first: u8) {
        self.step = match first {
            0x80.. => self.integer(Of::Nothing, first, 0x7f),
            0x20..0x40 => self.integer(Of::Nothing, first, 0x1f),
            literal => {
                self.kept = literal & 0x40 != 0;
                self.integer(Of::NameIndex, literal, if self.kept { 0x3f } else { 0x0f })
            }
        };
    }

    /// An integer that begins in the lower bits of a byte.
    fn integer(&mut self, of: Of, first: u8, mask: u8) -> Step {
        let value = u32::from(first & mask);
        if first & mask == mask {
            Step::Integer { of, value, shift: 0 }
        } else {
            self.after_integer(of, value)
        }
    }

    fn after_integer(&mut self, of: Of, value: u32) -> Step {
        match of {
            Of::Nothing => Step::Field,
            Of::NameIndex if value == 0 => Step::String { is_name: true },
            Of::NameIndex => {
                // 4 and 5 are `:path` in the static table.
                let entry = value.checked_sub(DYNAMIC).and_then(|entry| self.paths.checked_shr(entry));
                self.is_path = matches!(value, 4 | 5) || entry.is_some_and(|entries| entries & 1 == 1);
                Step::String { is_name: false }
            }
            Of::Length { is_name: true, coded } if value > 0 => Step::Name { coded, length: value, have: 0 },
            Of::Length { is_name: true, coded } => self.after_name(coded, 0),
            Of::Length { coded, .. } if value > 0 => Step::Value { coded, left: value, bits: 0, count: 0 },
            Of::Length { .. } => self.after_value(),
        }
    }

    fn after_name(&mut self, coded: bool, length: u32) -> Step {
        let path = if coded { PATH_CODED } else { PATH };
        self.is_path = length as usize == path.len() && self.name.starts_with(path);
        Step::String { is_name: false }
    }

    fn after_value(&mut self) -> Step {
        if self.kept {
            self.paths = self.paths << 1 | u128::from(self.is_path);
        }
        Step::Field
    }
}

fn replace(bytes: &mut [u8]) {
    // Most often there is no `#`.
    if memchr(b'#', bytes).is_some() {
        bytes.iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = b'\\');
    }
}

/// Reads one byte of a string with Huffman coding (RFC 7541 appendix B) behind `count` bits that are not read yet, and makes
/// each `#` that ends in it a `>`. The code is canonical: how long a symbol is shows by how great its first bits are.
fn replace_coded(byte: &mut u8, bits: &mut u32, count: &mut u32) {
    /// No symbol of a target is longer: what is, the service refuses.
    const BEYOND: u32 = u32::MAX;
    if *count == BEYOND {
        return;
    }
    *bits = *bits << 8 | u32::from(*byte);
    *count += 8;
    loop {
        let next = if *count >= 16 { *bits >> (*count - 16) } else { *bits << (16 - *count) } & 0xffff;
        let length = match next {
            0..0x5000 => 5,
            0x5000..0xb800 => 6,
            0xb800..0xf800 => 7,
            0xf800..0xfe00 => 8,
            0xfe00..0xff40 => 10,
            0xff40..0xffa0 => 11,
            0xffa0..0xffc0 => 12,
            0xffc0..0xfff0 => 13,
            0xfff0..0xfff8 => 14,
            0xfff8..0xfffe => 15,
            _ if *count >= 16 => {
                *count = BEYOND;
                return;
            }
            _ => 16,
        };
        if length > *count {
            return;
        }
        *count -= length;
        if length == 12 && next >> 4 == 0xffa {
            *byte |= 1 << *count;
        }
        *bits &= (1 << *count) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Code and length of some symbols, as RFC 7541 appendix B has them.
    fn code(symbol: char) -> (u32, u32) {
        match symbol {
            '/' => (0x18, 6),
            'a' => (0x3, 5),
            'd' => (0x24, 6),
            't' => (0x9, 5),
            'p' => (0x2b, 6),
            'h' => (0x27, 6),
            ':' => (0x5c, 7),
            'x' => (0x79, 7),
            'X' => (0xfc, 8),
            '?' => (0x3fc, 10),
            '|' => (0x7fc, 11),
            '#' => (0xffa, 12),
            '>' => (0xffb, 12),
            '~' => (0x1ffd, 13),
            '}' => (0x3ffd, 14),
            '{' => (0x7ffe, 15),
            '\\' => (0x7fff0, 19),
            other => panic!("{other}"),
        }
    }

    fn coded(text: &str) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        for (code, length) in text.chars().map(code) {
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push(true);
        }
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }

    fn string(huffman: bool, text: &str) -> Vec<u8> {
        let bytes = if huffman { coded(text) } else { text.as_bytes().to_vec() };
        let mut string = vec![u8::try_from(bytes.len()).unwrap() | if huffman { 0x80 } else { 0 }];
        string.extend(bytes);
        string
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[length[1], length[2], length[3], kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Fields with `path` in the place of `:path`, in all ways to write one; the last ones refer to entries of the table.
    fn block(huffman: bool, path: &str) -> Vec<u8> {
        let (path, other) = (string(huffman, path), string(huffman, "/a#t"));
        let name = string(huffman, ":path");
        [
            &[0x82, 0x87, 0x3f, 0xe1, 0x1f][..],
            &[0x04],
            &path,
            &[0x15],
            &path,
            &[0x44],
            &path, // the newest entry
            &[0x00],
            &name,
            &path,
            &[0x40],
            &name,
            &path,
            &[0x0f, 0x01],
            &other, // :authority's neighbour of the table, by a long index
            &[0x40],
            &string(false, "x-a"),
            &other,
            &[0x7f, 0x00],
            &path, // entry 63: the one before the newest
            &[0x0f, 62 - 15],
            &path, // entry 62, which that became
            &[0x0f, 62 - 15 + 1],
            &other, // entry 63: x-a
            &[0x0f, 62 - 15 + 2],
            &path,
            &[0x7e],
            &path,
        ]
        .concat()
    }

    #[test]
    fn a_fragment_becomes_what_no_target_may_have_however_it_is_written_and_cut() {
        for huffman in [false, true] {
            for path in ["/#", "#", "/data/x?a#t", "/~{}|#", "/a##x", "/X#", "/xX#:p"] {
                let stand_in = if huffman { ">" } else { "\\" };
                let (sent, expected) = (block(huffman, path), block(huffman, &path.replace('#', stand_in)));
                let message = |block: &[u8]| {
                    let (first, rest) = block.split_at(block.len() / 2);
                    [
                        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
                        frame(4, 0, &[0; 6]),
                        frame(HEADERS, 0x5, block),
                        frame(0, 0, b"/data#"),
                        frame(HEADERS, 0, first),
                        frame(CONTINUATION, 4, rest),
                        frame(HEADERS, 0x2d, &[&[3, 0, 0, 0, 0, 9], block, b"/#/"].concat()),
                    ]
                    .concat()
                };
                let (sent, expected) = (message(&sent), message(&expected));
                for step in [1, 2, 3, 7, 64, sent.len()] {
                    let (mut bytes, mut fragments) = (sent.clone(), Fragments::default());
                    bytes.chunks_mut(step).for_each(|piece| fragments.read(piece));
                    let differing: Vec<_> = bytes
                        .iter()
                        .zip(&expected)
                        .enumerate()
                        .filter(|(_, (is, wanted))| is != wanted)
                        .collect();
                    assert!(differing.is_empty(), "{path} {huffman} step {step}: {differing:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing_and_only_fragments_are_changed(
            block in proptest::collection::vec(prop_oneof![
                Just(b'#'), Just(0x04), Just(0x44), Just(0x40), Just(0x00), Just(0x0f), Just(0x7f), Just(0x83), Just(0xff),
                any::<u8>()
            ], 0..200),
            flags in any::<u8>(),
            step in 1usize..20,
        ) {
            let sent = [vec![0; PREFACE], frame(HEADERS, flags, &block), frame(CONTINUATION, 0, &block)].concat();
            let (mut whole, mut pieces) = (sent.clone(), sent.clone());
            Fragments::default().read(&mut whole);
            let mut fragments = Fragments::default();
            pieces.chunks_mut(step).for_each(|piece| fragments.read(piece));
            prop_assert_eq!(&whole, &pieces);
            for (was, is) in sent.iter().zip(&whole) {
                let last_bit_of_a_code = (was ^ is).count_ones() == 1 && was & (was ^ is) == 0;
                prop_assert!(was == is || (*was == b'#' && *is == b'\\') || last_bit_of_a_code);
            }
        }
    }
}
