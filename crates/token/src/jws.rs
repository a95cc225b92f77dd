//! JSON Web Signature, compact serialisation only (RFC 7515 sections 3.1 and 5.2, RFC 8725).
//!
//! Refuses: the JSON serialisations, `crit` (we understand no extension), algorithms that are not on the caller's list,
//! keys that are not ours. Ignores every other header parameter, `jwk`, `jku`, `x5c` and `x5u` above all (rule C8).

use crate::json::{self, Object};
use crate::{Algorithm, TokenError, VerificationKeys, base64url};
use countersign_model::KeyId;
use serde_json::Value;

/// What is accepted at all.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest token, in octets.
    pub size_bytes: usize,
    /// The algorithms that may be used (rule C7).
    pub algorithms: &'static [Algorithm],
}

impl Default for Limits {
    /// 8 KB (rule G11) and ES256 only (design, decision 6).
    fn default() -> Self {
        Self { size_bytes: 8 * 1024, algorithms: &[Algorithm::Es256] }
    }
}

/// A JWS whose signature was verified.
#[derive(Debug)]
pub struct VerifiedJws {
    /// The key that signed it.
    pub key_id: KeyId,
    /// `typ` of its header.
    pub typ: Option<String>,
    /// What was signed.
    pub payload: Vec<u8>,
}

/// Verifies `token` in the order of rule G2: size, form, algorithm, key by `kid`, signature.
///
/// # Errors
/// The first check that failed.
pub fn verify(token: &str, keys: &VerificationKeys, limits: &Limits) -> Result<VerifiedJws, TokenError> {
    if token.len() > limits.size_bytes {
        return Err(TokenError::TooLarge);
    }
    let unverified = UnverifiedJws::parse(token)?;
    let algorithm = unverified.algorithm(limits)?;
    let key_id = unverified.key_id()?;
    let key = keys.find(key_id, algorithm).ok_or(TokenError::KeyUnknown)?;
    if !key.verifies(unverified.signing_input.as_bytes(), &unverified.signature) {
        return Err(TokenError::SignatureInvalid);
    }
    Ok(VerifiedJws { key_id: key.id.clone(), typ: unverified.typ()?, payload: unverified.payload })
}

/// A JWS that has the right form, and about which nothing else is known.
struct UnverifiedJws<'a> {
    signing_input: &'a str,
    header: Object,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> UnverifiedJws<'a> {
    fn parse(token: &'a str) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed;
        let (signing_input, signature) = token.rsplit_once('.').ok_or(malformed("not three parts"))?;
        let (header, payload) = signing_input.split_once('.').ok_or(malformed("not three parts"))?;
        // A fourth part leaves a dot in the payload, which base64url does not have.
        let header = base64url::decode(header).ok_or(malformed("header"))?;
        let payload = base64url::decode(payload).ok_or(malformed("payload"))?;
        let signature = base64url::decode(signature).ok_or(malformed("signature"))?;
        let header = json::object(&header).ok_or(malformed("header"))?;
        // RFC 7515 section 4.1.11: what is critical and not understood is refused, and we understand none.
        if header.contains_key("crit") {
            return Err(malformed("crit"));
        }
        Ok(Self { signing_input, header, payload, signature })
    }

    fn algorithm(&self, limits: &Limits) -> Result<Algorithm, TokenError> {
        let name = self.text("alg")?.ok_or(TokenError::Malformed("alg"))?;
        Algorithm::from_name(name)
            .filter(|algorithm| limits.algorithms.contains(algorithm))
            .ok_or(TokenError::AlgorithmRefused)
    }

    fn key_id(&self) -> Result<&str, TokenError> {
        self.text("kid")?.ok_or(TokenError::KeyUnknown)
    }

    fn typ(&self) -> Result<Option<String>, TokenError> {
        Ok(self.text("typ")?.map(str::to_owned))
    }

    fn text(&self, parameter: &'static str) -> Result<Option<&str>, TokenError> {
        match self.header.get(parameter) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Malformed(parameter)),
        }
    }
}
