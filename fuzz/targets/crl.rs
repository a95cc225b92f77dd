//! A certificate revocation list, as somebody else may have made it.
#![no_main]

use countersign_model::Serial;
use countersign_pki::RevocationList;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(list) = RevocationList::parse(data) {
        let _ = list.revocation(&Serial::from_octets(&[1]).expect("a serial"));
    }
});
