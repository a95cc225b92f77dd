//! What the upstream learns of the caller (experience.md section 6): set here and nowhere else, and nowhere forgeable,
//! because whatever looks like it is taken out of the request first (rules G9 and T8), and so is what would make the upstream
//! do another thing than was decided about.

use crate::decision::{InternalHeaders, Permit};
use crate::header_names::{Class, class_of, same_name};
use crate::peer::Peer;
use countersign_model::Environment;
use http::{HeaderName, HeaderValue};

/// The client's `client_id`.
pub const CLIENT_ID: HeaderName = HeaderName::from_static("countersign-client-id");
/// The scopes that the caller has, separated by spaces.
pub const SCOPE: HeaderName = HeaderName::from_static("countersign-scope");
/// `sandbox` or `production`.
pub const ENVIRONMENT: HeaderName = HeaderName::from_static("countersign-environment");
/// `certificate`, `none` or `internal`.
pub const BINDING: HeaderName = HeaderName::from_static("countersign-binding");
/// `x5t#S256` of the connection's certificate.
pub const CERTIFICATE: HeaderName = HeaderName::from_static("countersign-certificate");
/// The connection's certificate (RFC 9440 section 2.2).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// The identity headers of a permitted request. `Forwarded` and `X-Forwarded-*` are the forwarding's own.
pub fn identity_headers(
    permit: &Permit,
    peer: &Peer,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let client_id = HeaderValue::from_str(permit.client_id().as_str()).ok();
    let scope = HeaderValue::try_from(permit.scopes().to_string()).ok();
    let environment = HeaderValue::from_static(match permit.environment() {
        Environment::Sandbox => "sandbox",
        Environment::Production => "production",
    });
    let binding = HeaderValue::from_static(permit.binding().as_str());
    let certificate = peer.certificate_headers();
    let headers = [
        (CLIENT_ID, client_id),
        (SCOPE, scope),
        (ENVIRONMENT, Some(environment)),
        (BINDING, Some(binding)),
        (CERTIFICATE, certificate.map(|(thumbprint, _)| thumbprint.clone())),
        (CLIENT_CERT, certificate.map(|(_, client_cert)| client_cert.clone())),
    ];
    headers.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// Whether an inbound header of this name is taken out before forwarding unless a route lets it through, because it says who
/// calls, or asks for another thing than was decided about: in any spelling that some server takes for it (rule G19).
pub fn is_identity_header(name: &str) -> bool {
    class_of(name).is_some_and(|class| !matches!(class, Class::Connection | Class::Exact | Class::Plain))
}

/// Whether an inbound header is one of the internal method, in any spelling: taken out as well. The secret on every route,
/// because a client that misspells it has sent its secret all the same. The client_id only where the route takes the method
/// (`is_taken`): elsewhere the configured name itself is refused, and another spelling, such as `Client-Id`, is a header of
/// the API's own.
pub fn is_internal_header(name: &str, internal: &InternalHeaders, is_taken: bool) -> bool {
    same_name(name, internal.client_secret().as_str())
        || (is_taken && same_name(name, internal.client_id().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use base64::{Engine, engine::general_purpose::STANDARD};

    #[test]
    fn rule_g9_headers_that_say_who_calls_are_recognised_however_they_are_written() {
        for name in [
            "Countersign-Client-Id",
            "COUNTERSIGN_CLIENT_ID",
            "countersign-anything",
            "countersign_Certificate",
            "Client-Cert",
            "client_cert",
            "Client_Cert-Chain",
            "Forwarded",
            "x-forwarded-for",
            "X_Forwarded_Client_Cert",
            "authorization",
            "Proxy-Authorization",
            "DPoP",
            "X-SSL-Client-S-DN",
            "ssl_client_verify",
            "X-Real-IP",
            "True-Client-IP",
            "X-Client-IP",
            "CF-Connecting-IP",
            "X_Cluster_Client_IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "x_http_method_override",
            "X-HTTP-Method",
            "X-Method-Override",
            "X-SSL-Cert",
            "X-ARR-ClientCert",
            "X-Amzn-Mtls-Clientcert",
            "X-Forwarded",
            "X-Original-Host",
            "X-Host",
            "Proxy",
            "Client-Certificate",
            "Forwarded-For",
        ] {
            assert!(is_identity_header(name), "{name}");
        }
        for name in ["accept", "countersig", "x-forward", "traceparent", "cookie"] {
            assert!(!is_identity_header(name), "{name}");
        }
    }

    #[test]
    fn rule_g9_the_secret_headers_are_recognised_under_their_configured_names() {
        let default = InternalHeaders::default();
        for (name, where_taken, elsewhere) in [
            ("client_id", true, false),
            ("Client-Id", true, false),
            ("Client-Secret", true, true),
            ("CLIENT_SECRET", true, true),
            ("http_client__secret", true, true),
            ("client", false, false),
        ] {
            assert_eq!(is_internal_header(name, &default, true), where_taken, "{name}");
            assert_eq!(is_internal_header(name, &default, false), elsewhere, "{name}");
        }
        let renamed =
            InternalHeaders::new(HeaderName::from_static("x-id"), HeaderName::from_static("x-secret"));
        let renamed = renamed.unwrap();
        assert!(
            is_internal_header("X_Secret", &renamed, false)
                && !is_internal_header("client_id", &renamed, true)
        );
    }

    #[test]
    fn the_upstream_learns_who_calls_and_how_it_was_proved() {
        let world = World::new();
        let peer = world.peer(Some(&world.acme));
        let permit =
            world.decide("data", &peer, &[("authorization", &world.bearer(&world.token_of_acme()))]).unwrap();
        let headers: Vec<_> = identity_headers(&permit, &peer).collect();
        let value = |name: &HeaderName| {
            headers
                .iter()
                .find(|(header, _)| header == name)
                .map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(value(&CLIENT_ID).unwrap(), "acme-pay");
        assert_eq!(value(&SCOPE).unwrap(), "data:read");
        assert_eq!(value(&ENVIRONMENT).unwrap(), "production");
        assert_eq!(value(&BINDING).unwrap(), "certificate");
        assert_eq!(value(&CERTIFICATE).unwrap(), world.acme.thumbprint().to_string());
        // RFC 9440 section 2.2, RFC 8941 section 3.3.5: base64 with padding, between colons.
        let client_cert = value(&CLIENT_CERT).unwrap();
        let encoded = client_cert.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), world.acme.der());
        assert!(
            headers.iter().all(|(name, _)| is_identity_header(name.as_str())),
            "all of them are stripped inbound"
        );
    }

    #[test]
    fn without_a_certificate_none_is_claimed() {
        let world = World::new();
        let peer = world.peer(None);
        let permit =
            world.decide("test-data", &peer, &[("client_id", "test-shop"), ("client_secret", &world.secret)]);
        let permit = permit.unwrap();
        let names: Vec<_> = identity_headers(&permit, &peer).map(|(name, _)| name).collect();
        assert_eq!(names, [CLIENT_ID, SCOPE, ENVIRONMENT, BINDING]);
        assert_eq!(permit.binding().as_str(), "internal");
    }
}
