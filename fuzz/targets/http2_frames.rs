//! The bytes of HTTP/2 connections, as they are read in passing. The first octet says how they are cut.
//!
//! However they arrive, the same is changed in what a client sends and the same is seen in what is sent to it. Nothing is
//! changed but a `#`, which becomes `^`, and the last bit of one with Huffman coding; a second look finds nothing more.
#![no_main]

use countersign_gateway::fuzzing::{refusals_in, without_fragments};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else { return };
    // The preface is passed over, whatever it is.
    let sent = [&[0; 24], data].concat();
    let (mut whole, mut pieces) = (sent.clone(), sent.clone());
    without_fragments(&mut whole, sent.len());
    without_fragments(&mut pieces, usize::from(cut) + 1);
    assert!(whole == pieces, "how it is cut changes what is changed");
    for (was, is) in sent.iter().zip(&whole) {
        let changed = was ^ is;
        assert!(
            changed == 0 || (*was == b'#' && *is == b'^') || was | changed == *is,
            "{was:x} became {is:x}"
        );
    }
    let mut again = whole.clone();
    without_fragments(&mut again, sent.len());
    assert!(again == whole, "a fragment was left");

    assert_eq!(refusals_in(data, data.len().max(1)), refusals_in(data, usize::from(cut) + 1));
});
