//! Public keys as JSON Web Keys (RFC 7517; RFC 7518 section 6; RFC 8037) and their thumbprints (RFC 7638).
//!
//! Only public signature keys: P-256, RSA and Ed25519. A private or symmetric key is refused as such, and takes the
//! whole set down with it: whoever publishes one has a problem that must not be passed over.

use crate::json::{self, Object};
use crate::{Algorithm, KeyError, base64url, rsa_strength};
use aws_lc_rs::digest;
use aws_lc_rs::rsa::{PublicKey as RsaPublicKey, PublicKeyComponents};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256};
use countersign_model::KeyId;
use serde_json::{Value, json};

/// A public key for signatures, with the names that JOSE gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    key_id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The public numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    EcP256 { x: [u8; 32], y: [u8; 32] },
    Ed25519 { x: [u8; 32] },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Jwk {
    /// Reads a SubjectPublicKeyInfo (DER). The `kid` is the key's own thumbprint.
    ///
    /// An RSA key comes without `alg`; say which one with [`Jwk::with_algorithm`].
    ///
    /// # Errors
    /// When it is none of our key types, or weak.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let material = Material::from_spki(der)?;
        let mut jwk = Self { key_id: None, algorithm: material.only_algorithm(), material };
        jwk.key_id = Some(jwk.thumbprint().0);
        Ok(jwk)
    }

    /// Reads one JWK.
    ///
    /// # Errors
    /// When it is not strict JSON, is private or symmetric, not meant to verify signatures, not one of our key types,
    /// or weak.
    pub fn from_json(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_object(&json::object(text).ok_or(KeyError::Malformed("not strict JSON"))?)
    }

    fn from_object(object: &Object) -> Result<Self, KeyError> {
        refuse_private(object)?;
        check_use(object)?;
        let material = Material::from_object(object)?;
        let algorithm = match text(object, "alg")? {
            None => material.only_algorithm(),
            Some(name) => {
                let algorithm = Algorithm::from_name(name).ok_or(KeyError::Unsupported("alg"))?;
                if !material.algorithms().contains(&algorithm) {
                    return Err(KeyError::Malformed("alg and kty do not fit"));
                }
                Some(algorithm)
            }
        };
        Ok(Self { key_id: text(object, "kid")?.map(str::to_owned), algorithm, material })
    }

    /// The same key, to be used with `algorithm` only.
    ///
    /// # Errors
    /// When the key cannot be used with it.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !self.material.algorithms().contains(&algorithm) {
            return Err(KeyError::Malformed("alg and kty do not fit"));
        }
        Ok(Self { algorithm: Some(algorithm), ..self })
    }

    /// The `kid`, if it has one.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithms that it may verify: its `alg`, or all that its type is good for.
    pub fn algorithms(&self) -> &[Algorithm] {
        match &self.algorithm {
            Some(algorithm) => std::slice::from_ref(algorithm),
            None => self.material.algorithms(),
        }
    }

    /// The JWK as it is published: public members, `use`, `alg` and `kid`.
    pub fn to_json(&self) -> Value {
        let mut object = self.material.required_members();
        object.insert("use".into(), "sig".into());
        if let Some(algorithm) = self.algorithm {
            object.insert("alg".into(), algorithm.as_str().into());
        }
        if let Some(key_id) = &self.key_id {
            object.insert("kid".into(), key_id.as_str().into());
        }
        Value::Object(object)
    }

    /// The JWK SHA-256 thumbprint (RFC 7638): what names our own keys.
    pub fn thumbprint(&self) -> KeyId {
        // RFC 7638 section 3: the required members only, in lexicographic order, without white space. serde_json's
        // map is sorted and its output compact.
        let canonical = Value::Object(self.material.required_members()).to_string();
        KeyId(base64url::encode(digest::digest(&digest::SHA256, canonical.as_bytes())))
    }

    /// The key, parsed once, ready to verify `algorithm` many times.
    pub(crate) fn parse_for(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
        let parsed = match (&self.material, algorithm) {
            (Material::EcP256 { x, y }, Algorithm::Es256) => {
                let mut point = Vec::with_capacity(65); // SEC 1 section 2.3.3: uncompressed
                point.push(4);
                point.extend_from_slice(x);
                point.extend_from_slice(y);
                ParsedPublicKey::new(algorithm.verification(), point)
            }
            (Material::Ed25519 { x }, Algorithm::EdDsa) => ParsedPublicKey::new(algorithm.verification(), x),
            (Material::Rsa { n, e }, Algorithm::Ps256) => {
                PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)
            }
            (Material::Rsa { n, e }, Algorithm::Rs256) => {
                PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            }
            _ => return Err(KeyError::Malformed("alg and kty do not fit")),
        };
        // aws-lc checks here that a point lies on its curve: an invalid-curve key verifies nothing.
        parsed.map_err(|_| KeyError::Weak("not a valid public key"))
    }
}

impl Material {
    fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        // RFC 5480 and RFC 8410: for these two the encoding before the key is always the same, so comparing it is
        // parsing it. What differs (compressed points, explicit parameters) is not accepted.
        const P256_UNCOMPRESSED: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
            \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
        const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

        if let Some(point) = der.strip_prefix(P256_UNCOMPRESSED) {
            let (x, y) = point.split_at_checked(32).ok_or(KeyError::Malformed("truncated point"))?;
            let malformed = |_| KeyError::Malformed("point of the wrong length");
            let material =
                Self::EcP256 { x: x.try_into().map_err(malformed)?, y: y.try_into().map_err(malformed)? };
            return material.checked();
        }
        if let Some(key) = der.strip_prefix(ED25519) {
            let x = key.try_into().map_err(|_| KeyError::Malformed("key of the wrong length"))?;
            return Self::Ed25519 { x }.checked();
        }
        let key =
            RsaPublicKey::from_der(der).map_err(|_| KeyError::Unsupported("not P-256, Ed25519 or RSA"))?;
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(&key);
        Self::Rsa { n, e }.checked()
    }

    fn from_object(object: &Object) -> Result<Self, KeyError> {
        match required(object, "kty")? {
            "EC" => match required(object, "crv")? {
                // RFC 7518 section 6.2.1.2: full width, leading zeros included.
                "P-256" => Self::EcP256 { x: octets(object, "x")?, y: octets(object, "y")? }.checked(),
                _ => Err(KeyError::Unsupported("crv")),
            },
            "OKP" => match required(object, "crv")? {
                "Ed25519" => Self::Ed25519 { x: octets(object, "x")? }.checked(),
                _ => Err(KeyError::Unsupported("crv")),
            },
            "RSA" => Self::Rsa { n: integer(object, "n")?, e: integer(object, "e")? }.checked(),
            _ => Err(KeyError::Unsupported("kty")),
        }
    }

    /// The same numbers, if they are those of a sound key.
    fn checked(self) -> Result<Self, KeyError> {
        if let Self::Rsa { n, e } = &self {
            rsa_strength::check(n, e)?;
        }
        let jwk = Jwk { key_id: None, algorithm: None, material: self };
        for &algorithm in jwk.material.algorithms() {
            jwk.parse_for(algorithm)?;
        }
        Ok(jwk.material)
    }

    fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::EcP256 { .. } => &[Algorithm::Es256],
            Self::Ed25519 { .. } => &[Algorithm::EdDsa],
            Self::Rsa { .. } => &[Algorithm::Ps256, Algorithm::Rs256],
        }
    }

    fn only_algorithm(&self) -> Option<Algorithm> {
        match self.algorithms() {
            [algorithm] => Some(*algorithm),
            _ => None,
        }
    }

    /// The members that make the key what it is (RFC 7638 section 3.2, RFC 8037 section 2).
    fn required_members(&self) -> Object {
        let members = match self {
            Self::EcP256 { x, y } => {
                json!({"crv": "P-256", "kty": "EC", "x": base64url::encode(x), "y": base64url::encode(y)})
            }
            Self::Ed25519 { x } => json!({"crv": "Ed25519", "kty": "OKP", "x": base64url::encode(x)}),
            Self::Rsa { n, e } => json!({"e": base64url::encode(e), "kty": "RSA", "n": base64url::encode(n)}),
        };
        match members {
            Value::Object(members) => members,
            _ => Object::new(),
        }
    }
}

/// Most bytes of a JWK Set (rule T13).
const MAX_SET_BYTES: usize = 128 * 1024;
/// Most keys of a JWK Set (rule T13): each is parsed, and a weak one is looked for in each.
const MAX_SET_KEYS: usize = 50;

/// A JWK Set (RFC 7517 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// A set of these keys.
    pub fn new(keys: Vec<Jwk>) -> Self {
        Self { keys }
    }

    /// Reads a set of at most 50 keys and 128 KiB. Keys of a kind that we do not use are passed over, as RFC 7517 section 5
    /// asks; they count.
    ///
    /// # Errors
    /// When the set is larger than that or not strict JSON, or one of its keys is private, symmetric, malformed or weak.
    pub fn from_json(text: &[u8]) -> Result<Self, KeyError> {
        if text.len() > MAX_SET_BYTES {
            return Err(KeyError::Malformed("a set of more than 128 KiB"));
        }
        let set = json::object(text).ok_or(KeyError::Malformed("not strict JSON"))?;
        let Some(Value::Array(members)) = set.get("keys") else {
            return Err(KeyError::Malformed("keys"));
        };
        if members.len() > MAX_SET_KEYS {
            return Err(KeyError::Malformed("a set of more than 50 keys"));
        }
        let mut keys = Vec::with_capacity(members.len());
        for member in members {
            let Value::Object(object) = member else { return Err(KeyError::Malformed("keys")) };
            match Jwk::from_object(object) {
                Ok(key) => keys.push(key),
                Err(KeyError::Unsupported(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { keys })
    }

    /// The keys.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The document that `jwks_uri` answers with.
    pub fn to_json(&self) -> Value {
        json!({ "keys": self.keys.iter().map(Jwk::to_json).collect::<Vec<_>>() })
    }
}

/// RFC 7517 section 9.2: private members, and symmetric keys altogether, have no place in a public document.
fn refuse_private(object: &Object) -> Result<(), KeyError> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    if PRIVATE.iter().any(|&member| object.contains_key(member)) { Err(KeyError::Private) } else { Ok(()) }
}

/// RFC 7517 sections 4.2 and 4.3: a key for encryption verifies no signature.
fn check_use(object: &Object) -> Result<(), KeyError> {
    if text(object, "use")?.is_some_and(|r#use| r#use != "sig") {
        return Err(KeyError::Unsupported("use"));
    }
    match object.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(KeyError::Unsupported("key_ops")),
        Some(_) => Err(KeyError::Malformed("key_ops")),
    }
}

fn text<'a>(object: &'a Object, member: &'static str) -> Result<Option<&'a str>, KeyError> {
    match object.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyError::Malformed(member)),
    }
}

fn required<'a>(object: &'a Object, member: &'static str) -> Result<&'a str, KeyError> {
    text(object, member)?.ok_or(KeyError::Malformed(member))
}

fn octets<const N: usize>(object: &Object, member: &'static str) -> Result<[u8; N], KeyError> {
    base64url::decode_array(required(object, member)?).ok_or(KeyError::Malformed(member))
}

/// Base64urlUInt of RFC 7518 section 2: the shortest form, so no leading zero.
fn integer(object: &Object, member: &'static str) -> Result<Vec<u8>, KeyError> {
    match base64url::decode(required(object, member)?) {
        Some(octets) if octets.first().is_some_and(|&octet| octet != 0) => Ok(octets),
        _ => Err(KeyError::Malformed(member)),
    }
}
