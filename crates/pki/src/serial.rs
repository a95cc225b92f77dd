//! Serial numbers (RFC 5280 section 4.1.2.2) and the CRL shard that follows from one (design, decision 9).

use countersign_model::{Rng, Serial, rng::random};

/// A new serial number: 16 octets from the CSPRNG, the first bit 0 and the second 1.
///
/// So it is positive without a padding octet, always of the same length, and has 126 random bits (rule P1 asks for 64).
pub fn generate(rng: &dyn Rng) -> Serial {
    let mut octets = random::<16>(rng);
    octets[0] = octets[0] & 0x3f | 0x40;
    #[expect(clippy::expect_used, reason = "the first octet is not zero, and 16 are fewer than 20")]
    Serial::from_octets(&octets).expect("16 octets")
}

/// Which of `shards` CRLs speaks of this certificate: chosen at issuance, for ever.
pub fn shard_of(serial: &Serial, shards: u16) -> u16 {
    let octets = serial.octets();
    let last =
        |place: usize| octets.len().checked_sub(place).and_then(|i| octets.get(i)).copied().unwrap_or(0);
    u16::from_be_bytes([last(2), last(1)]) % shards.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Constant(u8);
    impl Rng for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn rule_p1_a_serial_is_positive_and_has_64_bits_or_more() {
        for byte in [0, 0x7f, 0x80, 0xff] {
            let serial = generate(&Constant(byte));
            assert_eq!(serial.octets().len(), 16);
            assert_eq!(serial.octets()[0] & 0x80, 0, "negative in DER");
        }
    }

    #[test]
    fn every_serial_has_a_shard() {
        let serial: Serial = "0abc".parse().unwrap();
        assert_eq!(shard_of(&serial, 1), 0);
        assert_eq!(shard_of(&serial, 0), 0);
        assert_eq!(shard_of(&serial, 16), 0xc);
        assert_eq!(shard_of(&"07".parse().unwrap(), 4), 3);
    }
}
