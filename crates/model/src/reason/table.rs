//! The table of reason codes, in the order of docs/reason-codes.md.

use super::Reason;

/// Declares the enum and its table in one place, so that no code is without its texts.
macro_rules! reasons {
    ($($name:ident = $code:literal $status:literal $(behind $public:ident)? {
        title: $title:literal,
        detail: $detail:literal,
        action: $action:literal,
        operator: $operator:literal,
        incident: $incident:literal,
        standard: $standard:literal,
    })*) => {
        /// Why a request is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $(#[doc = $title] $name,)*
        }

        impl ReasonCode {
            /// Every code there is.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name),*];

            /// Everything that is known about the code.
            pub const fn reason(self) -> &'static Reason {
                match self {
                    $(ReasonCode::$name => &Reason {
                        code: $code,
                        status: $status,
                        public: reasons!(@public $($public)?),
                        title: $title,
                        detail: $detail,
                        action: $action,
                        operator: $operator,
                        incident: $incident,
                        standard: $standard,
                    },)*
                }
            }
        }
    };
    (@public) => { None };
    (@public $public:ident) => { Some(ReasonCode::$public) };
}

reasons! {
    RequestMalformed = "request_malformed" 400 {
        title: "Request malformed",
        detail: "Request malformed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RequestFramingAmbiguous = "request_framing_ambiguous" 400 {
        title: "Request framing ambiguous",
        detail: "Request framing ambiguous.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RequestHeaderInvalid = "request_header_invalid" 400 {
        title: "Request header invalid",
        detail: "Request header invalid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RequestHeaderTooLarge = "request_header_too_large" 431 {
        title: "Request header too large",
        detail: "Request header too large.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RequestBodyTooLarge = "request_body_too_large" 413 {
        title: "Request body too large",
        detail: "Request body too large.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RequestTooSlow = "request_too_slow" 408 {
        title: "Request too slow",
        detail: "Request too slow.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    HttpVersionUnsupported = "http_version_unsupported" 505 {
        title: "Http version unsupported",
        detail: "Http version unsupported.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    HostMisdirected = "host_misdirected" 421 {
        title: "Host misdirected",
        detail: "Host misdirected.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RouteNotFound = "route_not_found" 404 {
        title: "Route not found",
        detail: "Route not found.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    MethodNotAllowed = "method_not_allowed" 405 {
        title: "Method not allowed",
        detail: "Method not allowed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificateExpired = "certificate_expired" 401 {
        title: "Certificate expired",
        detail: "Certificate expired.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificateNotYetValid = "certificate_not_yet_valid" 401 {
        title: "Certificate not yet valid",
        detail: "Certificate not yet valid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificateUnknownIssuer = "certificate_unknown_issuer" 401 {
        title: "Certificate unknown issuer",
        detail: "Certificate unknown issuer.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificatePurposeWrong = "certificate_purpose_wrong" 401 {
        title: "Certificate purpose wrong",
        detail: "Certificate purpose wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificateKeyWeak = "certificate_key_weak" 401 {
        title: "Certificate key weak",
        detail: "Certificate key weak.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificateRevoked = "certificate_revoked" 401 {
        title: "Certificate revoked",
        detail: "Certificate revoked.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientCertificateNotRegistered = "client_certificate_not_registered" 401 {
        title: "Client certificate not registered",
        detail: "Client certificate not registered.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenMissing = "token_missing" 401 {
        title: "Token missing",
        detail: "Token missing.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenInQuery = "token_in_query" 400 {
        title: "Token in query",
        detail: "Token in query.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenRepeated = "token_repeated" 400 {
        title: "Token repeated",
        detail: "Token repeated.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenSchemeUnsupported = "token_scheme_unsupported" 401 {
        title: "Token scheme unsupported",
        detail: "Token scheme unsupported.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenTooLarge = "token_too_large" 401 {
        title: "Token too large",
        detail: "Token too large.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenMalformed = "token_malformed" 401 {
        title: "Token malformed",
        detail: "Token malformed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenAlgorithmRefused = "token_algorithm_refused" 401 {
        title: "Token algorithm refused",
        detail: "Token algorithm refused.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenKeyUnknown = "token_key_unknown" 401 {
        title: "Token key unknown",
        detail: "Token key unknown.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenSignatureInvalid = "token_signature_invalid" 401 {
        title: "Token signature invalid",
        detail: "Token signature invalid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenTypeWrong = "token_type_wrong" 401 {
        title: "Token type wrong",
        detail: "Token type wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenClaimMissing = "token_claim_missing" 401 {
        title: "Token claim missing",
        detail: "Token claim missing.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenIssuerWrong = "token_issuer_wrong" 401 {
        title: "Token issuer wrong",
        detail: "Token issuer wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenAudienceWrong = "token_audience_wrong" 401 {
        title: "Token audience wrong",
        detail: "Token audience wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenEnvironmentWrong = "token_environment_wrong" 401 {
        title: "Token environment wrong",
        detail: "Token environment wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenExpired = "token_expired" 401 {
        title: "Token expired",
        detail: "Token expired.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenNotYetValid = "token_not_yet_valid" 401 {
        title: "Token not yet valid",
        detail: "Token not yet valid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenRevoked = "token_revoked" 401 {
        title: "Token revoked",
        detail: "Token revoked.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenBindingMissing = "token_binding_missing" 401 {
        title: "Token binding missing",
        detail: "Token binding missing.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenBindingUnknown = "token_binding_unknown" 401 {
        title: "Token binding unknown",
        detail: "Token binding unknown.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenCertificateMissing = "token_certificate_missing" 401 {
        title: "Token certificate missing",
        detail: "Token certificate missing.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenCertificateMismatch = "token_certificate_mismatch" 401 {
        title: "Token certificate mismatch",
        detail: "Token certificate mismatch.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CertificateMissing = "certificate_missing" 401 {
        title: "Certificate missing",
        detail: "Certificate missing.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientNotAllowed = "client_not_allowed" 403 {
        title: "Client not allowed",
        detail: "Client not allowed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    TokenScopeInsufficient = "token_scope_insufficient" 403 {
        title: "Token scope insufficient",
        detail: "Token scope insufficient.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientAuthenticationFailed = "client_authentication_failed" 401 {
        title: "Client authentication failed",
        detail: "Client authentication failed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientUnknown = "client_unknown" 401 behind ClientAuthenticationFailed {
        title: "Client unknown",
        detail: "Client unknown.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientDisabled = "client_disabled" 401 behind ClientAuthenticationFailed {
        title: "Client disabled",
        detail: "Client disabled.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientSecretWrong = "client_secret_wrong" 401 behind ClientAuthenticationFailed {
        title: "Client secret wrong",
        detail: "Client secret wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientSecretExpired = "client_secret_expired" 401 behind ClientAuthenticationFailed {
        title: "Client secret expired",
        detail: "Client secret expired.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientMethodWrong = "client_method_wrong" 401 behind ClientAuthenticationFailed {
        title: "Client method wrong",
        detail: "Client method wrong.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ClientCredentialsRepeated = "client_credentials_repeated" 400 {
        title: "Client credentials repeated",
        detail: "Client credentials repeated.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RequestParameterRepeated = "request_parameter_repeated" 400 {
        title: "Request parameter repeated",
        detail: "Request parameter repeated.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    InternalMethodRefused = "internal_method_refused" 401 {
        title: "Internal method refused",
        detail: "Internal method refused.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    InternalCredentialsMissing = "internal_credentials_missing" 401 {
        title: "Internal credentials missing",
        detail: "Internal credentials missing.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ScopeNotAllowed = "scope_not_allowed" 400 {
        title: "Scope not allowed",
        detail: "Scope not allowed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    AudienceNotAllowed = "audience_not_allowed" 400 {
        title: "Audience not allowed",
        detail: "Audience not allowed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    GrantTypeUnsupported = "grant_type_unsupported" 400 {
        title: "Grant type unsupported",
        detail: "Grant type unsupported.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    Throttled = "throttled" 429 {
        title: "Throttled",
        detail: "Throttled.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    RateLimited = "rate_limited" 429 {
        title: "Rate limited",
        detail: "Rate limited.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ConnectionsExhausted = "connections_exhausted" 503 {
        title: "Connections exhausted",
        detail: "Connections exhausted.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    NotReady = "not_ready" 503 {
        title: "Not ready",
        detail: "Not ready.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    StorageUnavailable = "storage_unavailable" 503 {
        title: "Storage unavailable",
        detail: "Storage unavailable.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    InternalError = "internal_error" 500 {
        title: "Internal error",
        detail: "Internal error.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    UpstreamUnreachable = "upstream_unreachable" 502 {
        title: "Upstream unreachable",
        detail: "Upstream unreachable.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    UpstreamTooSlow = "upstream_too_slow" 504 {
        title: "Upstream too slow",
        detail: "Upstream too slow.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    UpstreamResponseInvalid = "upstream_response_invalid" 502 {
        title: "Upstream response invalid",
        detail: "Upstream response invalid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CsrMalformed = "csr_malformed" 400 {
        title: "Csr malformed",
        detail: "Csr malformed.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CsrSignatureInvalid = "csr_signature_invalid" 422 {
        title: "Csr signature invalid",
        detail: "Csr signature invalid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CsrKeyRefused = "csr_key_refused" 422 {
        title: "Csr key refused",
        detail: "Csr key refused.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    CsrNameRefused = "csr_name_refused" 422 {
        title: "Csr name refused",
        detail: "Csr name refused.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    AdminCredentialInvalid = "admin_credential_invalid" 401 {
        title: "Admin credential invalid",
        detail: "Admin credential invalid.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    AdminRoleInsufficient = "admin_role_insufficient" 403 {
        title: "Admin role insufficient",
        detail: "Admin role insufficient.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ObjectNotFound = "object_not_found" 404 {
        title: "Object not found",
        detail: "Object not found.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
    ObjectConflict = "object_conflict" 409 {
        title: "Object conflict",
        detail: "Object conflict.",
        action: "",
        operator: "",
        incident: false,
        standard: "",
    }
}
