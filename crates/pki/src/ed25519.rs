//! Which encodings are a key on edwards25519 (RFC 8032 section 5.1.3): a point that only its holder can sign with.
//!
//! The curve has eight points of small order. For such a key `R = 1, S = 0` is a signature of every message, or of every
//! second, fourth or eighth one, so that a signature proves nothing; verifiers accept it, and leave the key to us.

/// The y coordinates of the points of small order: 0 and 1, -1, and two of order 8. Each stands for both signs of x.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    *b"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
];

/// Whether it is the canonical encoding of a point, and none of small order. A y that is not smaller than the prime
/// 2^255 - 19 is a second way to write another one.
pub(crate) fn is_strong(key: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(key) else { return false };
    y[31] &= 0x7f; // The first bit of the last octet is the sign of x.
    let [first, middle @ .., last] = &y;
    let canonical = *last < 0x7f || *first < 0xed || middle.iter().any(|&octet| octet != 0xff);
    canonical && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_p4_points_are_taken_up_to_the_prime() {
        let at = |first: u8, middle: u8, last: u8| {
            let mut y = [middle; 32];
            (y[0], y[31]) = (first, last);
            is_strong(&y)
        };
        assert!(at(0xeb, 0xff, 0x7f) && at(0xeb, 0xff, 0xff), "p - 2");
        assert!(at(0xed, 0xff, 0x7e) && at(0xff, 0xfe, 0x7f) && at(2, 0, 0));
        for first in 0xec..=0xff {
            assert!(!at(first, 0xff, 0x7f) && !at(first, 0xff, 0xff), "{first:#x}");
        }
        assert!(!is_strong(&[2; 31]));
    }
}
