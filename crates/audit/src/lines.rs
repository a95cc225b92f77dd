//! Reading segments line by line: forwards from any offset, backwards from the end, or the end at once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;

/// The whole lines of a file from an offset on.
pub(crate) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Where the next line begins.
    offset: u64,
    /// Octets behind the last line end.
    unfinished: u64,
}

impl Lines {
    /// From the first line that begins at `offset` or behind it.
    pub(crate) fn from(path: &Path, offset: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut lines = Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, file),
            line: Vec::new(),
            offset,
            unfinished: 0,
        };
        if offset > 0 {
            // From one octet before: when that is a line end, a line begins at `offset` itself.
            lines.offset = offset - 1;
            lines.reader.seek(SeekFrom::Start(lines.offset))?;
            lines.next()?;
        }
        Ok(lines)
    }

    /// The next whole line without its line end, or `None`.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line)? as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            self.offset += read;
            return Ok(Some(&self.line));
        }
        self.unfinished = read;
        Ok(None)
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Octets behind the last line end; known after the end was reached.
    pub(crate) fn unfinished(&self) -> u64 {
        self.unfinished
    }
}

/// The whole lines of a file, the last one first.
pub(crate) struct LinesBackwards {
    file: File,
    /// Everything before this offset is unread.
    unread: u64,
    /// Read and not yet given: ends at a line end, or is the unfinished end of the file at first.
    buffer: Vec<u8>,
    begun: bool,
}

impl LinesBackwards {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let unread = file.metadata()?.len();
        Ok(Self { file, unread, buffer: Vec::new(), begun: false })
    }

    /// The line before, without its line end; `None` at the file's beginning.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.begun {
            self.begun = true;
            self.next_piece()?; // what is behind the last line end is no line (yet)
        }
        self.next_piece()
    }

    /// What stands behind the last line end of what is left; then the line end is dropped.
    fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = self.buffer.len();
        loop {
            if let Some(end) = self.buffer[..searched].iter().rposition(|&octet| octet == b'\n') {
                let piece = self.buffer.split_off(end + 1);
                self.buffer.pop();
                return Ok(Some(piece));
            }
            if self.unread == 0 {
                let piece = std::mem::take(&mut self.buffer);
                return Ok((!piece.is_empty()).then_some(piece));
            }
            searched = self.read_before()?;
        }
    }

    /// Puts one more block before the buffer; gives the block's length.
    fn read_before(&mut self) -> io::Result<usize> {
        let length = self.unread.min(BUFFER_BYTES as u64);
        self.unread -= length;
        self.file.seek(SeekFrom::Start(self.unread))?;
        let mut block = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut block)?;
        let read = block.len();
        block.append(&mut self.buffer);
        self.buffer = block;
        Ok(read)
    }
}

/// The last `most` octets of the file from a line's start on, and where that is.
pub(crate) fn read_end(file: &mut File, length: u64, most: u64) -> io::Result<(u64, Vec<u8>)> {
    let start = length.saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut region = Vec::new();
    file.take(length - start).read_to_end(&mut region)?;
    if start == 0 {
        return Ok((0, region));
    }
    let skipped = region.iter().position(|&octet| octet == b'\n').map_or(region.len(), |end| end + 1);
    region.drain(..skipped);
    Ok((start + skipped as u64, region))
}

/// The lines of a region with their line ends, without an unfinished one.
pub(crate) fn whole_lines(region: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = region.iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end + 1);
    region[..whole].split_inclusive(|&octet| octet == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn forwards(content: &[u8], offset: u64) -> (Vec<String>, u64) {
        let file = file(content);
        let mut lines = Lines::from(file.path(), offset).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        (all, lines.unfinished())
    }

    fn backwards(content: &[u8]) -> Vec<String> {
        let file = file(content);
        let mut lines = LinesBackwards::of(file.path()).unwrap();
        std::iter::from_fn(|| lines.next().unwrap()).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn lines_begin_at_line_starts_wherever_one_looks() {
        assert_eq!(forwards(b"one\ntwo\nthree\n", 0).0, ["one", "two", "three"]);
        assert_eq!(forwards(b"one\ntwo\nthree\n", 4).0, ["two", "three"]);
        for offset in [5, 6, 7, 8] {
            assert_eq!(forwards(b"one\ntwo\nthree\n", offset).0, ["three"], "{offset}");
        }
        assert_eq!(forwards(b"one\ntwo\nthr", 0), (vec!["one".into(), "two".into()], 3));
    }

    #[test]
    fn lines_come_backwards_without_the_unfinished_one() {
        assert_eq!(backwards(b"one\ntwo\nthree\n"), ["three", "two", "one"]);
        assert_eq!(backwards(b"one\ntwo\nthr"), ["two", "one"]);
        assert_eq!(backwards(b""), Vec::<String>::new());
        assert_eq!(backwards(b"unfinished"), Vec::<String>::new());
        let long = "x".repeat(BUFFER_BYTES + 17);
        assert_eq!(backwards(format!("a\n{long}\nb\n").as_bytes()), ["b", &long, "a"]);
    }
}
