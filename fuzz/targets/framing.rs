//! HTTP/1.1 message boundaries (rule G12). The first octet says how the rest is cut into reads.
//!
//! However the bytes arrive, the same messages are seen, or the same connection is refused. A head that drips in is judged
//! at the ends of its lines only, so that it may be refused later than one that came at once, but never passes.
#![no_main]

use countersign_gateway::guard::framing::{Framing, Judgement};
use countersign_gateway::guard::limits::{FramingLimits, Http10};
use countersign_model::ReasonCode;

/// Feeds the reader as the guard does: what is incomplete is held and shown again with what comes next. The number of heads
/// that passed, and of the octets that are held at the end.
fn heads(data: &[u8], read_size: usize) -> Result<(u64, usize), ReasonCode> {
    let limits =
        FramingLimits {
        head_bytes: 1024,
        header_count: 20,
        body_bytes: 4096,
        chunk_overhead_bytes: 256,
        http_1_0: Http10::Everywhere,
    };
    let mut framing = Framing::new(limits);
    let mut held = Vec::new();
    for read in data.chunks(read_size) {
        held.extend_from_slice(read);
        while !held.is_empty() {
            match framing.judge(&held) {
                Judgement::Pass(length) => {
                    assert!(0 < length && length <= held.len());
                    held.drain(..length);
                }
                Judgement::Incomplete => {
                    assert!(framing.between_messages());
                    // One octet more than the limit shows that there is more; nothing is held beyond a read.
                    assert!(held.len() <= limits.head_bytes + read_size);
                    break;
                }
                Judgement::Refused(reason) => return Err(reason),
            }
        }
    }
    Ok((framing.heads(), held.len()))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else { return };
    let whole = heads(data, data.len().max(1));
    let in_pieces = heads(data, usize::from(cut % 32) + 1);
    match (whole, in_pieces) {
        (Ok(whole), Ok(in_pieces)) => assert_eq!(whole, in_pieces),
        (Ok(_), Err(reason)) => panic!("passes at once, {reason:?} in pieces"),
        (Err(reason), Ok((_, held))) => assert_ne!(held, 0, "{reason:?} at once, passes in pieces"),
        (Err(_), Err(_)) => {}
    }
});
