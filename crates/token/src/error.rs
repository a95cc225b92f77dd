//! Why a token or a key is refused.

use countersign_model::ReasonCode;

/// Why a token is refused, in the order of the checks (rule G2). Says nothing of the token's content: what a caller
/// controls reaches no log through it (rule G11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Larger than 8 KB, or than the caller's own limit.
    #[error("the token is too large")]
    TooLarge,
    /// Not a compact JWS of strict JSON; the text says which part.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `alg` is not on the allow-list.
    #[error("the token's algorithm is not accepted")]
    AlgorithmRefused,
    /// No key of ours has this `kid` and algorithm.
    #[error("the token's key is unknown")]
    KeyUnknown,
    /// The signature is not that key's over these bytes.
    #[error("the token's signature is invalid")]
    SignatureInvalid,
    /// `typ` is not `at+jwt`.
    #[error("the token is no access token")]
    TypeWrong,
    /// A claim that must be there is not; the text names it.
    #[error("the token lacks the claim {0}")]
    ClaimMissing(&'static str),
    /// `iss` is another issuer.
    #[error("the token is of another issuer")]
    IssuerWrong,
    /// `aud` does not contain this API.
    #[error("the token is for another audience")]
    AudienceWrong,
    /// The token is of the other environment.
    #[error("the token is of another environment")]
    EnvironmentWrong,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The route wants a bound token and this one is not.
    #[error("the token is bound to nothing")]
    BindingMissing,
    /// `cnf` asks for something that we cannot check.
    #[error("the token is bound in a way that is not understood")]
    BindingUnknown,
    /// The token is bound to a certificate and the connection has none.
    #[error("the token is bound to a certificate and none was presented")]
    CertificateMissing,
    /// The token is bound to another certificate: a stolen token in use.
    #[error("the token is bound to another certificate")]
    CertificateMismatch,
}

impl TokenError {
    /// The reason code that callers see.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::TooLarge => ReasonCode::TokenTooLarge,
            Self::Malformed(_) => ReasonCode::TokenMalformed,
            Self::AlgorithmRefused => ReasonCode::TokenAlgorithmRefused,
            Self::KeyUnknown => ReasonCode::TokenKeyUnknown,
            Self::SignatureInvalid => ReasonCode::TokenSignatureInvalid,
            Self::TypeWrong => ReasonCode::TokenTypeWrong,
            Self::ClaimMissing(_) => ReasonCode::TokenClaimMissing,
            Self::IssuerWrong => ReasonCode::TokenIssuerWrong,
            Self::AudienceWrong => ReasonCode::TokenAudienceWrong,
            Self::EnvironmentWrong => ReasonCode::TokenEnvironmentWrong,
            Self::Expired => ReasonCode::TokenExpired,
            Self::NotYetValid => ReasonCode::TokenNotYetValid,
            Self::BindingMissing => ReasonCode::TokenBindingMissing,
            Self::BindingUnknown => ReasonCode::TokenBindingUnknown,
            Self::CertificateMissing => ReasonCode::TokenCertificateMissing,
            Self::CertificateMismatch => ReasonCode::TokenCertificateMismatch,
        }
    }
}

/// Why a public key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not strict JSON, not a JWK, or a member of the wrong type; the text says which.
    #[error("the key is malformed: {0}")]
    Malformed(&'static str),
    /// A private or symmetric key where only public ones belong.
    #[error("the key set holds a private or symmetric key")]
    Private,
    /// A key type, curve, algorithm or use that we do not verify signatures with.
    #[error("the key is of a kind that is not supported: {0}")]
    Unsupported(&'static str),
    /// Too short, a dangerous exponent, made by a broken generator, or not a point of the curve.
    #[error("the key is weak or invalid: {0}")]
    Weak(&'static str),
    /// Two keys of a set have the same `kid` and algorithm.
    #[error("two keys of the set have the same kid and algorithm")]
    Ambiguous,
}
