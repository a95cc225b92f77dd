//! New values of `x-fapi-interaction-id`: UUIDs of version 4 (RFC 9562 section 5.4).

use bytes::Bytes;
use countersign_model::Rng;
use http::HeaderValue;
use std::cell::RefCell;

/// Makes ids for many requests at once, from one draw and in one piece of memory: both cost more than an id. They are
/// names, not secrets.
#[derive(Default)]
pub(crate) struct InteractionIds {
    made: RefCell<Bytes>,
}

const AT_ONCE: usize = 64;

impl InteractionIds {
    pub(crate) fn next(&self, rng: &dyn Rng) -> HeaderValue {
        let mut made = self.made.borrow_mut();
        if made.is_empty() {
            let mut drawn = [[0; 16]; AT_ONCE];
            rng.fill(drawn.as_flattened_mut());
            *made = drawn.map(uuid).concat().into();
        }
        HeaderValue::from_maybe_shared(made.split_to(LENGTH)).unwrap_or(HeaderValue::from_static(""))
    }
}

const LENGTH: usize = 36;

fn uuid(mut octets: [u8; 16]) -> [u8; LENGTH] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    octets[6] = octets[6] & 0x0f | 0x40;
    octets[8] = octets[8] & 0x3f | 0x80;
    let mut text = [b'-'; LENGTH];
    let mut at = 0;
    for (i, octet) in octets.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1; // the dash that is there already
        }
        text[at] = DIGITS[usize::from(octet >> 4)];
        text[at + 1] = DIGITS[usize::from(octet & 15)];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);

    impl Rng for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[test]
    fn a_uuid_is_written_as_rfc_9562_says() {
        let octets = std::array::from_fn(|i| i as u8 * 17);
        assert_eq!(&uuid(octets), b"00112233-4455-4677-8899-aabbccddeeff");
    }

    #[test]
    fn ids_are_version_4_and_no_octet_is_used_twice() {
        let (ids, rng) = (InteractionIds::default(), Counting(AtomicU8::new(0)));
        let made: Vec<_> = (0..16).map(|_| ids.next(&rng).to_str().unwrap().to_owned()).collect();
        for id in &made {
            assert!(id.len() == 36 && &id[14..15] == "4" && "89ab".contains(&id[19..20]), "{id}");
        }
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), 16);
    }
}
