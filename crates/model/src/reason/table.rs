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
        title: "The request is malformed",
        detail: "The request cannot be understood: its method, its syntax or its host is not valid.",
        action: "Use a maintained HTTP client, and a method that the API takes, in capitals.",
        operator: "`countersign audit show REF` names the part that was refused. Many of these from one address are a scanner.",
        incident: false,
        standard: "RFC 9110 section 15.5.1",
    }
    RequestPathInvalid = "request_path_invalid" 400 {
        title: "The path is not in its normal form",
        detail: "The path has a dot segment, an empty segment, `;`, a backslash, an encoded letter, digit, slash or control character, or a character that is not allowed in a path. Servers read such paths differently.",
        action: "Send the path in its normal form: without `.` and `..` segments, without empty segments, and without `%2e`, `%2f`, `%5c` and `%00`.",
        operator: "`countersign audit show REF` says what was refused. Many of these from one address are a scanner.",
        incident: false,
        standard: "RFC 3986 sections 3.3 and 6.2.2",
    }
    RequestQueryInvalid = "request_query_invalid" 400 {
        title: "A character in the query is not allowed",
        detail: "The query has a space, a quotation mark, `<`, `>`, `#`, a backslash, a control character or a character beyond ASCII.",
        action: "Percent-encode the query, as URL libraries do: a space is `%20`.",
        operator: "`countersign audit show REF` says what was refused. Many of these from one address are a scanner.",
        incident: false,
        standard: "RFC 3986 section 3.4",
    }
    RequestFramingAmbiguous = "request_framing_ambiguous" 400 {
        title: "The end of the request is ambiguous",
        detail: "Two readers could disagree about where this request ends or to whom it goes: Content-Length together with Transfer-Encoding, differing Content-Length fields, an invalid chunk size, a repeated Host field, or one of these fields with a NUL, a folded line, a space before the colon or a line end that is not CRLF.",
        action: "Use a maintained HTTP client and let it set Content-Length or Transfer-Encoding by itself, never both.",
        operator: "An honest client does not send this. Look the reference up with `countersign audit show REF` and look at who sends it: it is how request smuggling begins.",
        incident: true,
        standard: "RFC 9112 sections 6.3 and 11.2",
    }
    RequestHeaderInvalid = "request_header_invalid" 400 {
        title: "A header field is not valid",
        detail: "A header name may contain only letters, digits, `-` and `_`; a value must be valid HTTP. A NUL, a folded line, a space before the colon and a line that does not end in CRLF are refused.",
        action: "Remove or rename the field, or encode its value as printable ASCII.",
        operator: "Look the reference up with `countersign audit show REF`. If a proxy of your own stands in front, check which fields it adds.",
        incident: false,
        standard: "RFC 9110 section 5.5; RFC 9112 section 5",
    }
    RequestHeaderTooLarge = "request_header_too_large" 431 {
        title: "The header fields are too large",
        detail: "The request has more header fields, or larger ones, than are accepted here.",
        action: "Send fewer or smaller header fields; cookies and debugging headers are the usual cause.",
        operator: "Raise the header limits of the listener only if a partner really needs it.",
        incident: false,
        standard: "RFC 6585 section 5",
    }
    RequestBodyTooLarge = "request_body_too_large" 413 {
        title: "The body is too large",
        detail: "The body of the request is larger than this server accepts.",
        action: "Send less in one request, or ask the operator for the limit.",
        operator: "Raise `body_size` in `[limits]` if an API needs larger bodies. The admin API has a fixed limit: send less.",
        incident: false,
        standard: "RFC 9110 section 15.5.14",
    }
    RequestTooSlow = "request_too_slow" 408 {
        title: "The request took too long to arrive",
        detail: "The header or the body of the request did not arrive in the time that is given to it.",
        action: "Send the request without pauses and look at the network in between.",
        operator: "Single cases are bad networks. Many at once from few addresses are an attempt to exhaust connections.",
        incident: false,
        standard: "RFC 9110 section 15.5.9",
    }
    HttpVersionUnsupported = "http_version_unsupported" 505 {
        title: "This HTTP version is not supported",
        detail: "The request is of an HTTP version that is not spoken here. HTTP/1.1 and HTTP/2 are.",
        action: "Use HTTP/1.1 or HTTP/2, for example `curl --http1.1` or `curl --http2`.",
        operator: "Look the reference up with `countersign audit show REF`. HTTP/1.0 is answered on listeners that serve only `pki`, and on `/livez` and `/readyz` of the admin listener.",
        incident: false,
        standard: "RFC 9110 section 15.6.6",
    }
    HostMisdirected = "host_misdirected" 421 {
        title: "This connection does not serve that host",
        detail: "The host of the request is none that is answered on this connection: other TLS settings apply to it.",
        action: "Open a connection of its own for this host, with its name in TLS (SNI). Do not reuse a connection of another host.",
        operator: "Compare the host with `hosts` of the listener, by default the names of its certificate. A proxy that reuses connections across hosts, or a caller that uses an address instead of the name, is the usual cause.",
        incident: false,
        standard: "RFC 9110 section 15.5.20; RFC 9113 section 9.1.2",
    }
    RouteNotFound = "route_not_found" 404 {
        title: "There is no route for this path",
        detail: "No API is configured for this host and path.",
        action: "Check the address. Paths are case-sensitive, and a prefix ends at a slash.",
        operator: "Check `[[routes]]` in countersign.toml: host, path, and the slash at the end.",
        incident: false,
        standard: "RFC 9110 section 15.5.5",
    }
    MethodNotAllowed = "method_not_allowed" 405 {
        title: "This method is not allowed here",
        detail: "The route does not accept this HTTP method. The Allow field lists those that it accepts.",
        action: "Use one of the methods in the Allow field.",
        operator: "Check `methods` of the route. The methods of the admin API are in its OpenAPI document.",
        incident: false,
        standard: "RFC 9110 section 15.5.6",
    }
    CertificateExpired = "certificate_expired" 401 {
        title: "The client certificate has expired",
        detail: "The validity of the client certificate is over. The TLS handshake ends with the alert certificate_expired, so that there is no HTTP answer; 401 is answered only on a connection that was open already.",
        action: "Renew the certificate: `countersign cert request CLIENT`, then have it signed. Its end is shown by `openssl x509 -noout -enddate -in client.crt`.",
        operator: "Sign a new certificate: `countersign cert sign CSR --client CLIENT`. `countersign cert list --expiring` shows what expires next.",
        incident: false,
        standard: "RFC 5280 section 4.1.2.5; RFC 8446 section 6.2",
    }
    CertificateNotYetValid = "certificate_not_yet_valid" 401 {
        title: "The client certificate is not valid yet",
        detail: "The validity of the client certificate has not begun. The TLS handshake ends with the alert certificate_expired, so that there is no HTTP answer; 401 is answered only on a connection that was open already.",
        action: "Compare `openssl x509 -noout -startdate -in client.crt` with the clock of your machine and of ours.",
        operator: "Check the clock of this machine first: certificates are signed with a start up to one hour back.",
        incident: false,
        standard: "RFC 5280 section 4.1.2.5; RFC 8446 section 6.2",
    }
    CertificateUnknownIssuer = "certificate_unknown_issuer" 401 {
        title: "The client certificate comes from an unknown issuer",
        detail: "The client certificate does not lead to an issuer that is trusted here. The TLS handshake ends with the alert unknown_ca, so that there is no HTTP answer.",
        action: "Send the certificate that was issued for this API together with its intermediate. `openssl x509 -noout -issuer -in client.crt` shows who signed yours.",
        operator: "The trust anchors are pinned by key, so a CA of the same name does not help. The record has the thumbprint of what was offered.",
        incident: false,
        standard: "RFC 5280 section 6.1; RFC 8446 section 6.2",
    }
    CertificatePurposeWrong = "certificate_purpose_wrong" 401 {
        title: "The certificate is not for client authentication",
        detail: "The certificate does not carry the extended key usage clientAuth, or it is a CA certificate. The TLS handshake ends with the alert unsupported_certificate, so that there is no HTTP answer.",
        action: "Use a client certificate. `openssl x509 -noout -ext extendedKeyUsage -in client.crt` must show TLS Web Client Authentication.",
        operator: "Look at which certificate was offered: a server certificate on the client side is the usual mistake.",
        incident: false,
        standard: "RFC 5280 section 4.2.1.12; RFC 8446 section 6.2",
    }
    CertificateKeyWeak = "certificate_key_weak" 401 {
        title: "The key of the client certificate is too weak",
        detail: "The key is neither RSA with 2048 bits or more, nor P-256, P-384 or Ed25519. The TLS handshake ends with an alert, so that there is no HTTP answer.",
        action: "Make a new key and request a new certificate: `countersign cert request CLIENT`.",
        operator: "Our own CA signs no such key, so the certificate comes from elsewhere.",
        incident: false,
        standard: "RFC 9325 section 4.5",
    }
    CertificateRevoked = "certificate_revoked" 401 {
        title: "The client certificate is revoked",
        detail: "The certificate of this connection was revoked. It opens nothing any more, and neither do the tokens bound to it.",
        action: "Stop using this certificate and its key. Make a new key, request a new certificate and then a new token.",
        operator: "`countersign cert show SERIAL` says since when and why. After keyCompromise, whoever presents it may be the thief: look at the address.",
        incident: false,
        standard: "RFC 5280 section 3.3",
    }
    ClientCertificateNotRegistered = "client_certificate_not_registered" 401 {
        title: "The client certificate is not registered",
        detail: "The certificate is valid, but it is registered to no client, to another client than the one that calls, or to a client of the other environment.",
        action: "Use the certificate that was issued for this client_id. `openssl x509 -noout -ext subjectAltName -in client.crt` shows its name.",
        operator: "`countersign client show CLIENT` lists the registered certificates. Compare with the thumbprint in the record.",
        incident: false,
        standard: "RFC 8705 section 2.1",
    }
    TokenMissing = "token_missing" 401 {
        title: "An access token is needed",
        detail: "The route is protected, and the request has no access token.",
        action: "Request a token at the token endpoint and send it as `Authorization: Bearer TOKEN`. A client certificate alone is not enough.",
        operator: "Nothing to do. A partner that suddenly sends none has changed its program.",
        incident: false,
        standard: "RFC 6750 section 3.1",
    }
    TokenInQuery = "token_in_query" 400 {
        title: "An access token in the address is not accepted",
        detail: "The query of the request carries access_token. Addresses end up in logs and histories, so a token there counts as lost.",
        action: "Send the token in the Authorization field only, and let the one that was in the address expire unused.",
        operator: "Tell the partner. The token may be in logs of proxies, where one that is bound to a certificate is worth nothing. `countersign client rotate-secret CLIENT --overlap 0` ends what was obtained with a secret; of a client with a certificate, revoke the certificate or disable the client.",
        incident: false,
        standard: "RFC 6750 section 2.3; RFC 9700 section 4.3.2",
    }
    TokenRepeated = "token_repeated" 400 {
        title: "More than one Authorization field",
        detail: "The request has more than one Authorization field, so it is not clear who calls.",
        action: "Send exactly one Authorization field.",
        operator: "Look the reference up with `countersign audit show REF`. A proxy that adds a field of its own is the usual cause.",
        incident: false,
        standard: "RFC 6750 sections 2 and 3.1",
    }
    TokenSchemeUnsupported = "token_scheme_unsupported" 401 {
        title: "This authorization scheme is not supported",
        detail: "The Authorization field uses a scheme that is not accepted here. Bearer is.",
        action: "Send `Authorization: Bearer TOKEN`.",
        operator: "Nothing to do.",
        incident: false,
        standard: "RFC 6750 section 2.1; RFC 9110 section 11.6.2",
    }
    TokenTooLarge = "token_too_large" 401 {
        title: "The token is too large",
        detail: "Tokens of more than 8 KB are not read.",
        action: "Send the access token of this issuer as it was received. Ours have about one kilobyte.",
        operator: "Our tokens are far below the limit, so this one is from elsewhere or made up.",
        incident: false,
        standard: "RFC 6750 section 3.1; the limit is ours",
    }
    TokenMalformed = "token_malformed" 401 {
        title: "The token is malformed",
        detail: "The token is not a signed JWT: it is cut off, badly encoded, or not a JWT at all.",
        action: "Send the token exactly as the token endpoint returned it, on one line and without quotes.",
        operator: "Truncation in a shell variable or a header limit of a proxy is the usual cause.",
        incident: false,
        standard: "RFC 7519 section 7.2",
    }
    TokenAlgorithmRefused = "token_algorithm_refused" 401 {
        title: "The token uses an algorithm that is not accepted",
        detail: "The header of the token names an algorithm that is not on the list, such as none or an HMAC.",
        action: "Use a token of this issuer. It is signed with ES256.",
        operator: "No token of ours looks like this: somebody tries to have a signature skipped or confused.",
        incident: true,
        standard: "RFC 8725 section 3.1; RFC 9068 section 4",
    }
    TokenKeyUnknown = "token_key_unknown" 401 {
        title: "The token was signed with an unknown key",
        detail: "The key that the token names is not, or no longer, a key of this issuer.",
        action: "Request a new token. If that one fails in the same way, check that it comes from the issuer of this API.",
        operator: "Keys stay published until the last token is over. After `countersign token-key rotate --now` old tokens end like this.",
        incident: false,
        standard: "RFC 7515 section 4.1.4; RFC 9068 section 4",
    }
    TokenSignatureInvalid = "token_signature_invalid" 401 {
        title: "The signature of the token is not valid",
        detail: "The signature does not fit the content of the token.",
        action: "Send the token unchanged, as the token endpoint returned it.",
        operator: "A copying mistake is possible, an attempt to change the claims is likelier.",
        incident: true,
        standard: "RFC 7515 section 5.2; RFC 9068 section 4",
    }
    TokenTypeWrong = "token_type_wrong" 401 {
        title: "This is not an access token",
        detail: "The header of the token does not say typ at+jwt, so it is a JWT for another purpose.",
        action: "Send the access_token of the token response, not an ID token or a client assertion.",
        operator: "Nothing to do, unless it repeats: somebody then tries a JWT that was made for something else.",
        incident: false,
        standard: "RFC 9068 section 4; RFC 8725 section 3.11",
    }
    TokenClaimMissing = "token_claim_missing" 401 {
        title: "The token lacks a claim that it must have",
        detail: "One of the claims that an access token must have is absent or of the wrong kind.",
        action: "Request a new token at the token endpoint of this issuer.",
        operator: "Tokens of ours have all claims. Look the reference up with `countersign audit show REF` to see which key signed it.",
        incident: false,
        standard: "RFC 9068 sections 2.2 and 4",
    }
    TokenIssuerWrong = "token_issuer_wrong" 401 {
        title: "The token is from another issuer",
        detail: "The claim iss is not the issuer that this API trusts, compared octet by octet.",
        action: "Request the token at the token endpoint that the metadata of this API names.",
        operator: "If `issuer` in countersign.toml was changed, tokens from before the change end like this.",
        incident: false,
        standard: "RFC 7519 section 4.1.1; RFC 9068 section 4",
    }
    TokenAudienceWrong = "token_audience_wrong" 401 {
        title: "The token is for another API",
        detail: "The claim aud does not contain this API.",
        action: "Request a token with a scope of this API.",
        operator: "Compare `audience` of the API in countersign.toml with the token's claim aud.",
        incident: false,
        standard: "RFC 7519 section 4.1.3; RFC 9068 section 4",
    }
    TokenEnvironmentWrong = "token_environment_wrong" 401 {
        title: "The token belongs to the other environment",
        detail: "A token of the sandbox does not open production, and a token of production does not open the sandbox.",
        action: "Use the client of this environment to request a token.",
        operator: "Nothing to do. A production token in the sandbox should still be mentioned to the partner: it is in the wrong place.",
        incident: false,
        standard: "RFC 7519 section 4.3",
    }
    TokenExpired = "token_expired" 401 {
        title: "The token has expired",
        detail: "The claim exp of the token lies in the past.",
        action: "Request a new token, and request the next one some seconds before expires_in is over.",
        operator: "Check the clocks if partners report this for new tokens.",
        incident: false,
        standard: "RFC 7519 section 4.1.4; RFC 6750 section 3.1",
    }
    TokenNotYetValid = "token_not_yet_valid" 401 {
        title: "The token is not valid yet",
        detail: "The claim nbf or iat of the token lies in the future.",
        action: "Try again in a few seconds.",
        operator: "Compare the clocks of the nodes: the one that issued the token is ahead of the one that checked it.",
        incident: false,
        standard: "RFC 7519 sections 4.1.5 and 4.1.6",
    }
    TokenRevoked = "token_revoked" 401 {
        title: "The token is revoked",
        detail: "The token was ended before its time, with the credential or the client that it was issued to.",
        action: "Request a new token. If that is refused too, ask the operator.",
        operator: "Look the reference up with `countersign audit show REF`: it says whether its credential or its client was ended.",
        incident: false,
        standard: "RFC 6750 section 3.1; RFC 7009 section 2",
    }
    TokenBindingMissing = "token_binding_missing" 401 {
        title: "The token is not bound to a certificate",
        detail: "The route accepts only tokens that are bound to a client certificate, and this one has no cnf claim.",
        action: "Request the token over a connection that presents your client certificate (`curl --cert client.crt --key client.key`).",
        operator: "Nothing to do.",
        incident: false,
        standard: "RFC 8705 section 3",
    }
    TokenBindingUnknown = "token_binding_unknown" 401 {
        title: "The token is bound in a way that is not understood",
        detail: "The cnf claim of the token has a member that cannot be checked here, so the token is refused.",
        action: "Request a token that is bound to your client certificate (cnf with x5t#S256).",
        operator: "RFC 7800 would let us ignore the member; we refuse instead (docs/divergences.md).",
        incident: false,
        standard: "RFC 7800 section 3.1; RFC 8705 section 3.1",
    }
    TokenCertificateMissing = "token_certificate_missing" 401 {
        title: "The token is bound to a certificate, and none was presented",
        detail: "The token is worth something only on a connection that presents the certificate it was issued to. This connection presents none.",
        action: "Call with the certificate that you used at the token endpoint: `curl --cert client.crt --key client.key`.",
        operator: "If the partner did not call without certificate by mistake, somebody else has its token.",
        incident: false,
        standard: "RFC 8705 section 3",
    }
    TokenCertificateMismatch = "token_certificate_mismatch" 401 {
        title: "The token is bound to another certificate",
        detail: "This connection's certificate is not the one that the token was issued to.",
        action: "Request a token over the connection's own certificate, and use both together. `openssl x509 -noout -fingerprint -sha256 -in client.crt` is, in base64url, the member x5t#S256 of the token's claim cnf.",
        operator: "The certificate is another client's, which `countersign.detail` names: a stolen token is in use, or two partners were mixed up in one program. Look at the address, ask both, and revoke what was stolen.",
        incident: true,
        standard: "RFC 8705 section 3",
    }
    TokenCertificateSuperseded = "token_certificate_superseded" 401 {
        title: "The token is bound to another certificate of yours",
        detail: "This connection's certificate is yours, but not the one that the token was issued to. A token that was issued before a renewal is good only with the certificate that it was issued to.",
        action: "Request a new token over a connection with this certificate, and use both together.",
        operator: "Nothing, if it passes within minutes: the partner has renewed its certificate, or uses two of them. If it goes on, its program keeps its token when it changes the certificate.",
        incident: false,
        standard: "RFC 8705 section 3",
    }
    CertificateMissing = "certificate_missing" 401 {
        title: "A client certificate is needed",
        detail: "The route requires a client certificate, and this connection presents none.",
        action: "Connect with your client certificate: `curl --cert client.crt --key client.key`.",
        operator: "Check that no proxy in front ends TLS: the certificate must reach this listener.",
        incident: false,
        standard: "RFC 8705 section 2; RFC 9110 section 15.5.2",
    }
    ClientNotAllowed = "client_not_allowed" 403 {
        title: "This client may not use this route",
        detail: "The credential is good, but the route is open to other clients only, or belongs to an API that this client is not registered for.",
        action: "Ask the operator to admit your client to this route.",
        operator: "Add the client to `clients` of the route if it should have access. `countersign client show CLIENT` lists its scopes and audiences: the internal method opens only what they name.",
        incident: false,
        standard: "RFC 9110 section 15.5.4",
    }
    TokenScopeInsufficient = "token_scope_insufficient" 403 {
        title: "The token lacks a scope",
        detail: "The route needs scopes that the token does not have. The challenge names them.",
        action: "Request a token with the missing scopes, if your client is registered for them.",
        operator: "`countersign client show CLIENT` lists what the client may ask for.",
        incident: false,
        standard: "RFC 6750 section 3.1",
    }
    ClientAuthenticationFailed = "client_authentication_failed" 401 {
        title: "The client could not be authenticated",
        detail: "The client is unknown, or its credential is not the right one. Which of them, only the operator can see.",
        action: "Check client_id, the secret or the certificate, and the registered method. Give the operator the reference.",
        operator: "Look the reference up with `countersign audit show REF`: it has the exact reason. At the token endpoint the status is 401 only if the request had an Authorization header, and 400 otherwise.",
        incident: false,
        standard: "RFC 6749 section 5.2",
    }
    ClientUnknown = "client_unknown" 401 behind ClientAuthenticationFailed {
        title: "There is no such client",
        detail: "No client has this client_id.",
        action: "Check the client_id.",
        operator: "Check the spelling with `countersign client list`. Many different names from one address are somebody guessing.",
        incident: false,
        standard: "RFC 6749 section 5.2",
    }
    ClientDisabled = "client_disabled" 401 behind ClientAuthenticationFailed {
        title: "The client is disabled",
        detail: "The client exists but may not act.",
        action: "Ask the operator.",
        operator: "The client was disabled: `countersign client show CLIENT` says when.",
        incident: false,
        standard: "RFC 6749 section 5.2",
    }
    ClientSecretWrong = "client_secret_wrong" 401 behind ClientAuthenticationFailed {
        title: "The client secret is wrong",
        detail: "The secret is none of those of this client.",
        action: "Use the newest secret, unchanged. In HTTP Basic both client_id and secret are form-encoded first.",
        operator: "Single cases are typing mistakes. Many are throttled by themselves; look at the address.",
        incident: false,
        standard: "RFC 6749 section 2.3.1",
    }
    ClientSecretExpired = "client_secret_expired" 401 behind ClientAuthenticationFailed {
        title: "The client secret is not valid now",
        detail: "The secret is right, but it has expired, is revoked or is not valid yet.",
        action: "Use the newest secret, or ask the operator for a new one.",
        operator: "Give the partner a new secret: `countersign client rotate-secret CLIENT`.",
        incident: false,
        standard: "RFC 6749 section 2.3.1",
    }
    ClientMethodWrong = "client_method_wrong" 401 behind ClientAuthenticationFailed {
        title: "The client authenticates in another way than registered",
        detail: "Each client has one registered authentication method, and this request used another one.",
        action: "Use the registered method: client_secret_basic, client_secret_post or tls_client_auth.",
        operator: "`countersign client show CLIENT` says which method is registered.",
        incident: false,
        standard: "RFC 6749 section 2.3; RFC 7591 section 2",
    }
    ClientCredentialsRepeated = "client_credentials_repeated" 400 {
        title: "More than one way of client authentication",
        detail: "The request carries more than one credential, or a client_id that contradicts another one.",
        action: "Send exactly one credential: the Authorization field, or client_id and client_secret, or at the token endpoint the certificate with client_id alone.",
        operator: "Nothing to do.",
        incident: false,
        standard: "RFC 6749 section 2.3",
    }
    RequestContentTypeWrong = "request_content_type_wrong" 400 {
        title: "The content type is not the one that is needed",
        detail: "A token request is a form: `Content-Type: application/x-www-form-urlencoded`.",
        action: "Send the parameters as a form, not as JSON: `curl -d grant_type=client_credentials ...`.",
        operator: "The partner's program sends another content type. Its OAuth library does it right.",
        incident: false,
        standard: "RFC 6749 section 4.4.2 and appendix B",
    }
    RequestParameterMissing = "request_parameter_missing" 400 {
        title: "A parameter is missing",
        detail: "The request lacks a parameter that it needs.",
        action: "Add the parameter. A token request has `grant_type=client_credentials` in its body.",
        operator: "`countersign.detail` names the parameter.",
        incident: false,
        standard: "RFC 6749 sections 4.4.2 and 5.2",
    }
    RequestParameterInvalid = "request_parameter_invalid" 400 {
        title: "A value in the request is not valid",
        detail: "A parameter, or a member of the body, does not have the form that it needs.",
        action: "Correct the value.",
        operator: "Correct the value that is named, and try again.",
        incident: false,
        standard: "RFC 9110 section 15.5.1",
    }
    CredentialsInQuery = "credentials_in_query" 400 {
        title: "Credentials do not belong in the address",
        detail: "The query has `client_id`, `client_secret`, `client_assertion` or `access_token`. Addresses are written into logs on the way.",
        action: "Send the credentials in the body of the request or in the Authorization header. If it was a secret, ask for a new one.",
        operator: "If the query had a secret, rotate it: `countersign client rotate-secret CLIENT`.",
        incident: false,
        standard: "RFC 6749 section 2.3.1",
    }
    RequestParameterRepeated = "request_parameter_repeated" 400 {
        title: "A parameter is repeated",
        detail: "A parameter appears more than once in the request.",
        action: "Send each parameter once.",
        operator: "Nothing to do.",
        incident: false,
        standard: "RFC 6749 section 3.2",
    }
    InternalMethodRefused = "internal_method_refused" 401 {
        title: "Client credentials with the call are not accepted here",
        detail: "client_id and client_secret with each call are a method for sandbox routes that switch it on. This route does not.",
        action: "Request an access token and send it as `Authorization: Bearer TOKEN`. If a production secret was sent, have it replaced.",
        operator: "If it was a production secret, end it and its tokens: `countersign client rotate-secret CLIENT --overlap 0` (without the switch it lives for another day). On sandbox routes `internal = true` switches the method on.",
        incident: false,
        standard: "RFC 6750 section 2; RFC 9110 section 15.5.2",
    }
    InternalCredentialsMissing = "internal_credentials_missing" 401 {
        title: "Half of the client credentials is missing",
        detail: "The internal method needs both client_id and client_secret, and one of them is absent or empty.",
        action: "Send both header fields, `client_id` and `client_secret`, or HTTP Basic.",
        operator: "Some proxies drop header fields with underscores. The names can be changed in the configuration.",
        incident: false,
        standard: "RFC 6749 section 2.3.1",
    }
    ScopeNotAllowed = "scope_not_allowed" 400 {
        title: "A requested scope is not allowed",
        detail: "The client may not ask for one of the scopes, the scope does not exist, no scope was named where the client has scopes of several APIs, or they are more than a token of 8 KB holds.",
        action: "Ask only for scopes that are registered for your client, and name them in `scope`.",
        operator: "`countersign client show CLIENT` lists the scopes of the client.",
        incident: false,
        standard: "RFC 6749 sections 3.3 and 5.2; RFC 9068 section 3",
    }
    AudienceNotAllowed = "audience_not_allowed" 400 {
        title: "The requested API is not allowed",
        detail: "The client may not obtain tokens for this API, or the API is unknown.",
        action: "Ask for scopes of one API that your client is registered for.",
        operator: "`countersign client show CLIENT` lists the audiences of the client.",
        incident: false,
        standard: "RFC 8707 section 2",
    }
    GrantTypeUnsupported = "grant_type_unsupported" 400 {
        title: "This grant type is not supported",
        detail: "Only client_credentials is supported.",
        action: "Send `grant_type=client_credentials`.",
        operator: "Nothing to do.",
        incident: false,
        standard: "RFC 6749 section 5.2",
    }
    Throttled = "throttled" 429 {
        title: "Too many failed authentications",
        detail: "There were too many failed attempts for this credential from this network. Further ones are not looked at for a while.",
        action: "Wait as long as Retry-After says, and correct the credential first: each further failure doubles the time.",
        operator: "Other networks are not affected, so the partner itself is not locked out. Look the reference up with `countersign audit show REF` to see the address.",
        incident: false,
        standard: "RFC 6749 section 2.3.1; RFC 6585 section 4",
    }
    RateLimited = "rate_limited" 429 {
        title: "Too many requests",
        detail: "The client has used up what this route grants to it. Retry-After says when the next request is accepted.",
        action: "Wait as long as Retry-After says, and spread the requests.",
        operator: "Raise `rate_limit` of the route if the partner's need is real.",
        incident: false,
        standard: "RFC 6585 section 4",
    }
    TokenRateLimited = "token_rate_limited" 429 {
        title: "Too many token requests",
        detail: "The client has used its token budget. Retry-After says when it can get the next token.",
        action: "Wait as long as Retry-After says. Keep a token until shortly before it expires (`expires_in`) and use it for all calls: one token for each instance of the program is enough.",
        operator: "Most often a program requests a token before each call. Raise `rate_limit` in `[oauth]` if the partner needs more.",
        incident: false,
        standard: "RFC 6585 section 4",
    }
    ConnectionsExhausted = "connections_exhausted" 503 {
        title: "Too many connections",
        detail: "The client, its address or the service has reached its limit of open connections.",
        action: "Keep connections open and reuse them instead of opening new ones. Try again after Retry-After.",
        operator: "`countersign audit show REF` shows the certificate, the address and the limit. Raise that limit in `[limits]` if the partner needs more. If the address is a load balancer's, list it in `balancers`.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    TlsServerUntrusted = "tls_server_untrusted" 400 {
        title: "The client does not trust this server",
        detail: "The client ended the TLS handshake with an alert: it does not accept this server's certificate.",
        action: "Give your program the CA certificate of this server: `curl --cacert ca.crt`. The host name in your URL must be one that the server's certificate has.",
        operator: "`countersign.detail` has the alert. `unknown_ca`: the partner's program does not have `ca.crt`. `bad_certificate`: mostly a host name that the certificate does not have. Go says `bad_certificate` and Java `certificate_unknown` for both, and for an expired certificate.",
        incident: false,
        standard: "RFC 8446 section 6.2",
    }
    TlsServerExpired = "tls_server_expired" 400 {
        title: "By the client's clock, this server's certificate has expired",
        detail: "The client ended the TLS handshake with the alert `certificate_expired`.",
        action: "Set the clock of your machine. If it is right, tell the operator.",
        operator: "If `countersign_certificate_not_after_timestamp_seconds` of the listener is in the future, the client's clock is wrong. Otherwise renew the listener's certificate.",
        incident: false,
        standard: "RFC 8446 section 6.2",
    }
    TlsAlertReceived = "tls_alert_received" 400 {
        title: "The client ended the TLS handshake",
        detail: "The client ended the TLS handshake with an alert that is not about this server's certificate.",
        action: "Look for the alert in the log of your program. Updating its TLS library helps most often.",
        operator: "`countersign.detail` has the alert. `decrypt_error` and `bad_record_mac` come from something that changes the bytes on the way, or from a broken library.",
        incident: false,
        standard: "RFC 8446 section 6",
    }
    TlsIncompatible = "tls_incompatible" 400 {
        title: "Client and server have no TLS in common",
        detail: "The client offers no protocol version, cipher suite, key exchange or signature algorithm that this server accepts. TLS 1.3 and TLS 1.2 with forward secrecy and AEAD are accepted.",
        action: "Update the TLS library of your program. `openssl s_client -connect HOST:PORT` shows what the server offers.",
        operator: "`countersign.detail` says what was missing. Scanners cause this too: look at the address.",
        incident: false,
        standard: "RFC 8446 section 6.2; RFC 9325 section 3",
    }
    TlsInvalid = "tls_invalid" 400 {
        title: "What came is not a TLS handshake",
        detail: "The client sent something that is not TLS, or that breaks its rules. Plain HTTP to this port is the most frequent case.",
        action: "Use `https://` in the URL.",
        operator: "`countersign.detail` has the cause. Scanners cause this too: look at the address. If a load balancer stands in front, check that it passes TLS through and sends no PROXY protocol.",
        incident: false,
        standard: "RFC 8446 section 6.2",
    }
    TlsHandshakeAbandoned = "tls_handshake_abandoned" 400 {
        title: "The client left in the middle of the TLS handshake",
        detail: "The client closed the connection before the handshake was complete, and did not say why.",
        action: "Look in the log of your program: programs that do not trust a server's certificate sometimes close the connection without an alert.",
        operator: "Several from one partner mean that its program does not accept the server's certificate and does not say so, or that its time limit for connecting is too short.",
        incident: false,
        standard: "RFC 8446 section 6.1",
    }
    ClientRequestsExhausted = "client_requests_exhausted" 503 {
        title: "Too many requests at once",
        detail: "The client has reached its limit of concurrent requests.",
        action: "Wait for answers before you send more requests. Try again after Retry-After.",
        operator: "Compare `countersign_upstream_requests_in_flight` with the API's response time. If the limit in `countersign.detail` is below `requests_per_client`, raise the limit of open files; if it names an upstream, raise `requests` of that upstream; otherwise raise `requests_per_client` in `[limits]` if the partner needs more.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    NotReady = "not_ready" 503 {
        title: "The service is not ready",
        detail: "A source that decisions depend on is missing or too old: keys, revocations or the change feed.",
        action: "Try again after Retry-After.",
        operator: "`/readyz` on the admin listener names the source.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    StorageLow = "storage_low" 503 {
        title: "Little disk space is left",
        detail: "Little disk space is left and is kept for administration. No tokens are issued; existing tokens still work.",
        action: "Keep using your token. Try again after Retry-After.",
        operator: "Free space on the disks of the database and the audit log; `/readyz` and `countersign_disk_free_bytes` show how much is free. Below `disk_floor` in `[storage]`, only changes by administrators are written.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    NotStored = "not_stored" 503 {
        title: "Enforced, but not stored",
        detail: "This node enforces the change, but could not store it. A restart before it is stored undoes it.",
        action: "Contact the operator.",
        operator: "Free disk space or repair the database before you restart. `changes_not_stored` in `/readyz` becomes 0 when the change is stored. The call made no new secret or CRL: repeat it then.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    StorageUnavailable = "storage_unavailable" 503 {
        title: "The storage is not available",
        detail: "The database cannot be read or written at the moment.",
        action: "Try again after Retry-After.",
        operator: "Look at the log for the cause: disk full, file permissions, a database from a newer version.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    ChangeNotInForce = "change_not_in_force" 503 {
        title: "The change is stored, but this node does not apply it yet",
        detail: "The change is stored. This node did not apply it within two seconds and still decides by the old state.",
        action: "Contact the operator.",
        operator: "Watch `feed_age_ms` in `/readyz`; the log has the cause. If the call made a secret, the secret was not shown: rotate again.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    InternalError = "internal_error" 500 {
        title: "Something went wrong here",
        detail: "The request could not be answered because of a fault on this side.",
        action: "Try again once. If it repeats, give the operator the reference.",
        operator: "The log has the error under the same reference. Please report it: this should not happen.",
        incident: false,
        standard: "RFC 9110 section 15.6.1",
    }
    UpstreamRequestsExhausted = "upstream_requests_exhausted" 503 {
        title: "The API behind the gateway is busy",
        detail: "This API already has its maximum number of concurrent requests.",
        action: "Try again after Retry-After.",
        operator: "Compare `countersign_upstream_requests_in_flight` with the API's response time. If the limit in `countersign.detail` is below `requests` of the upstream, raise the limit of open files; otherwise raise `requests` if the API can serve more.",
        incident: false,
        standard: "RFC 9110 section 15.6.4",
    }
    UpstreamUnreachable = "upstream_unreachable" 502 {
        title: "The API behind the gateway cannot be reached",
        detail: "The request was accepted, but the API behind the gateway does not take connections. Nothing of the request was sent to it.",
        action: "Try again later. Your credentials are fine.",
        operator: "Check that the upstream runs and that `url` in `[[upstreams]]` is right. The log has the cause.",
        incident: false,
        standard: "RFC 9110 section 15.6.3",
    }
    UpstreamBrokeOff = "upstream_broke_off" 502 {
        title: "The API behind the gateway ended the connection",
        detail: "The request was passed on, but the API behind the gateway ended the connection before it had answered. It may have carried out the request.",
        action: "Before repeating a request that changes something, ask whether it was carried out.",
        operator: "Look at the upstream's own log for this time: it crashed, was restarted, or closed the connection while it worked. `countersign.detail` has the cause.",
        incident: false,
        standard: "RFC 9110 sections 9.2.2 and 15.6.3",
    }
    UpstreamTooSlow = "upstream_too_slow" 504 {
        title: "The API behind the gateway did not answer in time",
        detail: "The request was passed on, but no answer came in time. It may have been carried out all the same.",
        action: "Before repeating a request that changes something, ask whether it was carried out.",
        operator: "Look at the upstream. Its time limit is in `[[upstreams]]`.",
        incident: false,
        standard: "RFC 9110 section 15.6.5",
    }
    UpstreamResponseInvalid = "upstream_response_invalid" 502 {
        title: "The API behind the gateway gave an invalid answer",
        detail: "What the API behind the gateway answered is not valid HTTP. It may have carried out the request.",
        action: "Give the operator the reference. Your request was fine. Before repeating one that changes something, ask whether it was carried out.",
        operator: "The log says what was wrong with the answer. Does something else listen at that address?",
        incident: false,
        standard: "RFC 9110 section 15.6.3",
    }
    CsrMalformed = "csr_malformed" 400 {
        title: "The certificate request is malformed",
        detail: "What was sent is not a PKCS#10 certificate request in PEM or DER, or it is too large.",
        action: "Make the request with `countersign cert request CLIENT` or `openssl req -new`. `openssl req -noout -text -in client.csr` shows it.",
        operator: "Ask the partner for the file itself; mail programs damage PEM.",
        incident: false,
        standard: "RFC 2986 section 4; RFC 7468 section 7",
    }
    CsrSignatureInvalid = "csr_signature_invalid" 422 {
        title: "The certificate request is not signed by its own key",
        detail: "The signature of the certificate request does not fit the key in it, so the sender has not proved that the private key is his.",
        action: "Make a new request with the right key. `openssl req -noout -verify -in client.csr` must say OK.",
        operator: "Ask the partner for a new request, signed with the key that is in it. Do not sign anything that you built from this request by hand.",
        incident: false,
        standard: "RFC 2986 section 4.2",
    }
    CsrSignatureAlgorithmRefused = "csr_signature_algorithm_refused" 422 {
        title: "The certificate request is signed with an algorithm that is not accepted",
        detail: "The signature of the certificate request is of a kind that is not accepted, so it was not verified. ECDSA and RSA are accepted with SHA-256, SHA-384 or SHA-512, and Ed25519; RSA-PSS only with a salt as long as the hash.",
        action: "Make a new request with the same key and SHA-256: `openssl req -new -sha256 -key client.key`. With RSA-PSS add `-sigopt rsa_pss_saltlen:digest`.",
        operator: "The record names the algorithm. Ask the partner for a new request that is signed with SHA-256; the key may stay.",
        incident: false,
        standard: "RFC 9325 section 4.5; RFC 4055 section 3",
    }
    CsrKeyRefused = "csr_key_refused" 422 {
        title: "The key in the certificate request is not accepted",
        detail: "The key is too small, of a kind that is not accepted, or a key of the CA itself. RSA with 2048 bits or more, P-256, P-384 and Ed25519 are accepted.",
        action: "Make a new key: `countersign cert request CLIENT` makes a P-256 key.",
        operator: "Ask for a new key. After keyCompromise look at the key yourself: one that was revoked is not refused by itself yet (docs/divergences.md, R6).",
        incident: false,
        standard: "RFC 9325 section 4.5; CA/Browser Forum BR sections 6.1.1.3 and 6.1.5",
    }
    CsrKeyOfAnother = "csr_key_of_another" 409 {
        title: "The key in the certificate request belongs to another client",
        detail: "A certificate with this public key was issued for another client before. A key belongs to one client in one environment: two clients with one key cannot be told apart by whoever holds it.",
        action: "Make a new key for this client, and a request with it: `countersign cert request CLIENT` does both.",
        operator: "Did the partner send the request of another client, or of the other environment? The record names that environment. Ask for a new key. If both must use one key, `cert sign --allow-shared-key` signs, each time.",
        incident: false,
        standard: "none",
    }
    CsrNameRefused = "csr_name_refused" 422 {
        title: "The certificate request is for another client, or for a CA",
        detail: "The request bears the name of another registered client, or asks for a CA certificate.",
        action: "Make a request with your own client_id as common name: `countersign cert request CLIENT` does.",
        operator: "Check that this is the request of this client: the record names the other one. A CA certificate is never issued from a request. Other names do no harm: the certificate has those of the registration, and the answer says which were left out.",
        incident: false,
        standard: "RFC 2986 section 4.1; RFC 5280 section 4.2.1.6",
    }
    AdminCredentialInvalid = "admin_credential_invalid" 401 {
        title: "The operator could not be authenticated",
        detail: "The admin API needs the token of a named operator, and this one is missing, wrong or disabled.",
        action: "Call with the credential of a named operator: `--dir DIR` finds the one of an installation.",
        operator: "Use the token of a named operator: `--dir DIR` finds the one of an installation. Check that the operator is enabled and that the file is the newest one.",
        incident: false,
        standard: "RFC 6750 section 3.1",
    }
    AdminRoleInsufficient = "admin_role_insufficient" 403 {
        title: "The operator's role does not allow this",
        detail: "The operator is known, but the role does not include this operation.",
        action: "Ask an operator with a higher role.",
        operator: "Ask an operator with a higher role. The roles are auditor, operator and admin; each includes the ones before it.",
        incident: false,
        standard: "RFC 9110 section 15.5.4",
    }
    ObjectNotFound = "object_not_found" 404 {
        title: "There is no such object",
        detail: "Nothing has this name, serial number or reference.",
        action: "Check the name; `countersign client list` and `countersign cert list` show what there is.",
        operator: "Check the name; `countersign client list` and `countersign cert list` show which names exist.",
        incident: false,
        standard: "RFC 9110 section 15.5.5",
    }
    ObjectConflict = "object_conflict" 409 {
        title: "The object is not in a state that allows this",
        detail: "An object of this name exists already, or its state does not allow the operation.",
        action: "Look at the object as it is now, and repeat what is still needed.",
        operator: "Look at the object as it is now, and repeat what is still needed. Two operators at the same time are the usual cause; the audit log shows both.",
        incident: false,
        standard: "RFC 9110 section 15.5.10",
    }
    ConfigurationInvalid = "configuration_invalid" 400 {
        title: "The new configuration was refused",
        detail: "A reload found mistakes in the configuration, or a certificate file that cannot be used. The configuration from before runs on.",
        action: "Run `countersign config check`, correct what it names, and reload again.",
        operator: "Run `countersign config check`, correct what it names, and reload again. Until then the next restart fails.",
        incident: false,
        standard: "none",
    }
    ConfigurationNeedsRestart = "configuration_needs_restart" 409 {
        title: "The new configuration needs a restart",
        detail: "A reload found a change that a running process cannot take over. The configuration from before runs on, all of it.",
        action: "Restart the service.",
        operator: "Restart the service, or take back the change that `countersign.detail` names and reload again.",
        incident: false,
        standard: "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_all_its_texts() {
        for code in ReasonCode::ALL {
            let reason = code.reason();
            for text in [reason.title, reason.detail, reason.action, reason.operator, reason.standard] {
                assert!(!text.trim().is_empty(), "{code}");
                // Texts go to terminals, pages and headers alike: printable ASCII is safe in all of them.
                assert!(text.bytes().all(|c| (0x20..0x7f).contains(&c)), "{code}: {text:?}");
            }
        }
    }

    #[test]
    fn rule_k3_titles_fit_an_error_description() {
        for code in ReasonCode::ALL {
            let title = code.reason().title;
            // RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E.
            assert!(
                title.bytes().all(|c| matches!(c, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
                "{code}: {title:?}"
            );
        }
    }

    #[test]
    fn codes_are_unique_and_hide_only_behind_public_ones_of_the_same_status() {
        for code in ReasonCode::ALL {
            assert_eq!(code.as_str().parse::<ReasonCode>(), Ok(*code));
            let public = code.public();
            assert_eq!(public.public(), public, "{code} hides behind a hidden code");
            assert_eq!(public.reason().status, code.reason().status, "{code}");
        }
    }
}
