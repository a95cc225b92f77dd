//! What an RSA public key must be, before it verifies anything (rules P4, C7).

use crate::KeyError;

/// Checks length, exponent and the fingerprint of a known broken generator. `modulus` and `exponent` are big-endian.
///
/// # Errors
/// [`KeyError::Weak`] with what is wrong.
pub(crate) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyError> {
    let bits = bit_length(modulus);
    // The upper end bounds the work that a key can make us do.
    if !(2048..=8192).contains(&bits) || !bits.is_multiple_of(8) {
        return Err(KeyError::Weak("the modulus is not 2048 to 8192 bits in whole octets"));
    }
    // FIPS 186-5 appendix A.1.1: odd, above 2^16. aws-lc refuses what is over 33 bits.
    let small =
        exponent.len() <= 5 && exponent.iter().fold(0u64, |e, &octet| e << 8 | u64::from(octet)) < 65_537;
    if small || exponent.last().is_none_or(|octet| octet % 2 == 0) {
        return Err(KeyError::Weak("the public exponent is even or below 65537"));
    }
    if modulus.last().is_none_or(|octet| octet % 2 == 0) {
        return Err(KeyError::Weak("the modulus is even"));
    }
    if has_roca_fingerprint(modulus) {
        return Err(KeyError::Weak("made by the generator of CVE-2017-15361 (ROCA)"));
    }
    Ok(())
}

fn bit_length(number: &[u8]) -> usize {
    match number.iter().position(|&octet| octet != 0) {
        Some(start) => (number.len() - start) * 8 - number[start].leading_zeros() as usize,
        None => 0,
    }
}

/// ROCA (CVE-2017-15361): both primes are powers of 65537 modulo a product of small primes, hence so is the modulus,
/// modulo each of them. A sound key passes all of these tests with a probability below 2^-27.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|&prime| {
        let residue = modulus.iter().fold(0u32, |rest, &octet| (rest << 8 | u32::from(octet)) % prime);
        is_power_of_65537(residue, prime)
    })
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus() -> Vec<u8> {
        let mut modulus = vec![0xff; 256];
        modulus[0] = 0x80;
        modulus
    }

    #[test]
    fn rule_p4_weak_rsa_keys_are_refused() {
        assert_eq!(check(&modulus(), &[1, 0, 1]), Ok(()));
        for (exponent, what) in
            [(&[3u8][..], "3"), (&[1], "1"), (&[1, 0, 0], "65536"), (&[], "none"), (&[1, 0, 2], "even")]
        {
            assert!(check(&modulus(), exponent).is_err(), "{what}");
        }
        assert!(check(&modulus()[..128], &[1, 0, 1]).is_err(), "1024 bits");
        assert!(check(&[], &[1, 0, 1]).is_err(), "no modulus");
        assert!(check(&[0xff; 1025], &[1, 0, 1]).is_err(), "8200 bits");
    }

    #[test]
    fn rule_p4_a_power_of_65537_modulo_the_small_primes_is_roca() {
        // 65537^128 over the integers is a power of 65537 modulo everything.
        let mut number = vec![1u8];
        for _ in 0..128 {
            let mut product = vec![0u8; number.len() + 2];
            // Little-endian: number * 2^16 + number.
            product[2..].copy_from_slice(&number);
            let mut carry = 0u16;
            for (i, slot) in product.iter_mut().enumerate() {
                carry += u16::from(*slot) + u16::from(number.get(i).copied().unwrap_or(0));
                *slot = carry as u8;
                carry >>= 8;
            }
            assert_eq!(carry, 0);
            number = product;
        }
        number.reverse();
        assert!(has_roca_fingerprint(&number));
        assert!(!has_roca_fingerprint(&modulus()));
    }
}
