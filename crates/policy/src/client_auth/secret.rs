//! Secrets that we generate: 256 random bits, a prefix and a checksum by which leak scanners know them, stored as
//! HMAC-SHA-256 under a pepper (rule C10; design, decision 5).

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_model::{Rng, Secret, rng};
use std::fmt;
use zeroize::Zeroize;

/// The keys under which secrets are stored: kept apart from the database, so that a stolen database opens nothing. One
/// for clients and one for operators, so that a row of the one kind proves nothing in a table of the other.
#[derive(Clone)]
pub struct Pepper {
    clients: hmac::Key,
    operators: hmac::Key,
}

/// What the key of operators' tokens is derived by. It is the younger one: clients are many, and their secrets are seen by
/// their owners alone, so that theirs kept the key that both had.
const OPERATORS: &[u8] = b"countersign operator tokens";

impl Pepper {
    /// Takes the 256-bit key.
    pub fn new(key: &Secret<[u8; 32]>) -> Self {
        let clients = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let operators = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&clients, OPERATORS).as_ref());
        Self { clients, operators }
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

const CLIENT_PREFIX: &str = "cs_";
const OPERATOR_PREFIX: &str = "csa_";
const RANDOM_CHARS: usize = 43; // 32 bytes in base64url
const CHECKSUM_CHARS: usize = 6; // 32 bits in base 62

/// A new client secret: `cs_`, 43 random characters, 6 of checksum.
pub fn generate(rng: &dyn Rng) -> Secret<String> {
    generate_with(CLIENT_PREFIX, rng)
}

/// A new token of an operator: `csa_`, 43 random characters, 6 of checksum.
pub fn generate_operator_token(rng: &dyn Rng) -> Secret<String> {
    generate_with(OPERATOR_PREFIX, rng)
}

fn generate_with(prefix: &str, rng: &dyn Rng) -> Secret<String> {
    let mut random = rng::random::<32>(rng);
    // With room for everything from the start: a String that grows leaves copies behind.
    let mut text = String::with_capacity(prefix.len() + RANDOM_CHARS + CHECKSUM_CHARS);
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(random, &mut text);
    random.zeroize();
    let checksum = checksum(text.as_bytes());
    text.extend(checksum.iter().map(|&c| char::from(c)));
    Secret::new(text)
}

/// What is stored of a client's secret, and compared.
pub fn hmac(pepper: &Pepper, secret: &str) -> [u8; 32] {
    signed(&pepper.clients, secret)
}

/// What is stored of an operator's token, and compared.
pub fn operator_hmac(pepper: &Pepper, token: &str) -> [u8; 32] {
    signed(&pepper.operators, token)
}

/// What was stored of an operator's token before operators had a key of their own. `None` for what has not the form of a
/// token: under this key a client's secret has a value too, and must not become a token by being copied.
pub fn former_operator_hmac(pepper: &Pepper, token: &str) -> Option<[u8; 32]> {
    is_operator_token(token).then(|| signed(&pepper.clients, token))
}

fn signed(key: &hmac::Key, text: &str) -> [u8; 32] {
    let tag = hmac::sign(key, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref()); // SHA-256 has 32 octets
    bytes
}

/// Whether two stored values are the same; the time does not tell where they differ.
pub fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// Whether the text has the form of a client secret of ours, checksum included: for leak scanners, and to tell a copying
/// mistake from a wrong secret. Proves nothing.
pub fn is_client_secret(text: &str) -> bool {
    has_form(CLIENT_PREFIX, text)
}

/// Whether the text has the form of an operator's token, checksum included. Proves nothing.
pub fn is_operator_token(text: &str) -> bool {
    has_form(OPERATOR_PREFIX, text)
}

fn has_form(prefix: &str, text: &str) -> bool {
    let Some(rest) = text.strip_prefix(prefix) else { return false };
    if rest.len() != RANDOM_CHARS + CHECKSUM_CHARS || !text.is_ascii() {
        return false;
    }
    let (body, given) = text.split_at(text.len() - CHECKSUM_CHARS);
    checksum(body.as_bytes()) == *given.as_bytes()
}

/// CRC-32 (ISO-HDLC) in base 62: finds mistakes, protects nothing.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_CHARS] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut value = crc32(bytes);
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    digits
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;

    #[test]
    fn rule_c10_a_secret_has_256_bits_a_prefix_and_a_checksum() {
        let rng = SeededRng::new(1);
        let client = is_client_secret as fn(&str) -> bool;
        for (secret, prefix, has_form, other_form) in [
            (generate(&rng), "cs_", client, is_operator_token as fn(&str) -> bool),
            (generate_operator_token(&rng), "csa_", is_operator_token, client),
        ] {
            let text = secret.expose();
            let random = text.strip_prefix(prefix).unwrap();
            assert_eq!(random.len(), 49);
            assert_eq!(URL_SAFE_NO_PAD.decode(&random[..43]).unwrap().len(), 32);
            assert!(has_form(text) && !other_form(text));
        }
        assert_ne!(generate(&rng).expose(), generate(&rng).expose());
    }

    #[test]
    fn a_copying_mistake_is_seen() {
        let secret = generate(&SeededRng::new(2)).expose().clone();
        for i in 0..secret.len() {
            let mut wrong = secret.clone().into_bytes();
            wrong[i] = if wrong[i] == b'x' { b'y' } else { b'x' };
            assert!(!is_client_secret(std::str::from_utf8(&wrong).unwrap()), "character {i}");
        }
        for text in ["", "cs_", &secret[1..], &secret[..secret.len() - 1], &format!("{secret}0")] {
            assert!(!is_client_secret(text), "{text}");
        }
    }

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926); // the check value of CRC-32/ISO-HDLC
    }

    #[test]
    fn rule_c10_what_is_stored_of_a_token_is_not_what_is_stored_of_a_secret() {
        let pepper = Pepper::new(&Secret::new([1; 32]));
        let rng = SeededRng::new(3);
        let (secret, token) = (generate(&rng), generate_operator_token(&rng));
        for text in [secret.expose(), token.expose(), "", "x"] {
            assert!(!same(&hmac(&pepper, text), &operator_hmac(&pepper, text)), "{text}");
        }
        assert_eq!(former_operator_hmac(&pepper, token.expose()), Some(hmac(&pepper, token.expose())));
        assert_eq!(former_operator_hmac(&pepper, secret.expose()), None, "a secret never was a token");
    }

    #[test]
    fn the_hmac_depends_on_pepper_and_secret() {
        let pepper = |byte| Pepper::new(&Secret::new([byte; 32]));
        let stored = hmac(&pepper(1), "secret");
        assert!(same(&stored, &hmac(&pepper(1), "secret")));
        assert!(!same(&stored, &hmac(&pepper(2), "secret")));
        assert!(!same(&stored, &hmac(&pepper(1), "Secret")));
        assert_eq!(format!("{:?}", pepper(1)), "Pepper(…)");
    }
}
