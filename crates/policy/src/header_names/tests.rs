//! Names as attackers write them.

use super::*;

/// All ways in which some server takes a name for `name`: case, separators and their number, and what stands around.
fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![name.to_owned(), name.to_ascii_uppercase()];
    for separator in
        ["-", "_", "--", "__", "-_", ".", "!", "|", "~", "'", "^", "`", "*", "+", "&", "%", "$", "#"]
    {
        spellings.push(name.replace('-', separator));
        spellings.push(name.replacen('-', separator, 1));
        spellings.push(format!("{separator}{name}"));
        spellings.push(format!("{name}{separator}"));
        spellings.push(format!("HTTP{separator}{name}").replace('-', separator));
    }
    spellings.push(format!("http_http-{name}"));
    spellings
}

/// Members of the families that the table names, written down apart from it.
const FOREIGN: &str = "\
    Remote-User Remote-Groups Remote-Email X-Remote-User X-Remote-Group X-Remote-Extra-Scopes X-Client-DN X-Client-S-DN \
    X-SSL-Client-Verify X-SSL-Client-S-DN X-SSL-Cert SSL-Client-Cert SSL-Client-Subject-DN X-Client-Cert \
    X-Client-Cert-Chain X-Client-Certificate X-Client-Verify X-Auth-Request-User X-Auth-Request-Email \
    X-Auth-Request-Access-Token X-Goog-Authenticated-User-Email X-Goog-Authenticated-User-Id X-Goog-IAP-JWT-Assertion \
    X-MS-Client-Principal X-MS-Client-Principal-Name X-MS-Token-AAD-Id-Token X-Forwarded-User X-Forwarded-Email \
    X-Forwarded-Groups X-Forwarded-Client-Cert X-Forwarded-Tls-Client-Cert X-Forwarded-Port X-Forwarded-Prefix \
    X-Forwarded X-Original-Forwarded-For X-Original-Host Client-IP True-Client-IP X-Client-IP X-Real-IP X-Cluster-Client-IP \
    CF-Connecting-IP CF-IPCountry Cf-Access-Authenticated-User-Email Cf-Access-Jwt-Assertion X-Amzn-Oidc-Identity \
    X-Amzn-Oidc-Data X-Amzn-Mtls-Clientcert X-Amzn-Tls-Version X-Authenticated-Userid X-Authenticated-Scope \
    X-Consumer-ID X-Consumer-Custom-ID X-Consumer-Username X-Consumer-Groups X-Credential-Identifier X-Anonymous-Consumer \
    X-Userinfo X-Access-Token X-ID-Token X-Envoy-External-Address X-Envoy-Original-Path X-User X-User-Id X-User-Email \
    X-User-Roles X-WEBAUTH-USER X-authentik-username X-Pomerium-Claim-Email X-Pomerium-Jwt-Assertion X-Vouch-User \
    Tailscale-User-Login IV-User IV-Groups SM-User SM-UserDN OAM-Remote-User OIDC-Claim-Sub MELLON-NAME-ID Shib-Session-ID \
    X-JWT-Assertion WL-Proxy-Client-IP WL-Proxy-Client-Cert Proxy-Client-IP Proxy X-ARR-ClientCert X-ARR-SSL \
    X-Azure-ClientIP CloudFront-Viewer-Address Fastly-Client-IP Fly-Client-IP X-AppEngine-User-Email \
    X-Endpoint-API-UserInfo L5d-Client-Id Front-End-Https X-TLS-Client-Cert Client-DN Auth-User X-Proxy-User X-Proxy-Roles \
    X-Proxy-Remote-User MS-ASPNETCORE-CLIENTCERT MS-ASPNETCORE-TOKEN MS-ASPNETCORE-WINAUTHTOKEN SSLClientCert \
    SSLClientCertSubject SSLClientCertStatus SSLClientCertSN X-SSLClientCert X-SSLClientDN X-Project-Id X-Project-Name \
    X-Project-Domain-Id X-Tenant-Id X-Tenant-Name X-Domain-Id X-Domain-Name X-Identity-Status X-Service-User-Id \
    X-Service-Roles X-Service-Catalog X-Is-Admin-Project Impersonate-User Impersonate-Group Impersonate-Extra-Scopes \
    X-Hasura-Role X-Hasura-User-Id es-security-runas-user es-secondary-authorization X-SSO-User X-SSO-Email SSO-User X-Email \
    X-Subject X-Jwt X-Jwt-Payload XFCC X-Verified-User X-Verified-Email X-Authorized-User X-True-Client-Ip X-Clientip \
    X-ProxiedEntitiesChain X-ProxiedIssuersChain X-ProxiedEntityGroups X-Auth-CouchDB-UserName X-Auth-CouchDB-Roles \
    X-Auth-CouchDB-Token X-Token-User-Name X-Token-User-Roles X-Token-Subject Kubeflow-Userid Kubeflow-Groups eai-user-id \
    am-eai-user-id NSC-Client-Cert NS-Client-IP X-NS-Client-Cert Cdn-Src-Ip X-Cdn-Src-Ip Ali-Cdn-Real-Ip X-Source-IP \
    Client-Address X-ForwardedFor Z-Forwarded-For X-Scope X-Scopes X-Auth-Scopes X-Auth-Client-Id X-LDAP-User X-Claims \
    X-Claim-Sub Jwt-Claim-Sub X-WebObjects-Remote-User Auth-Type Logon-User Cert-Subject X-OpenID-User X-Kratos-Identity \
    X-Is-Admin X-Logged-In-User X-Current-User";

/// What asks for another path, method, host or file than was decided about: never forwarded, and never allowed.
const OVERRIDES: &str = "\
    SCRIPT_NAME SCRIPT_FILENAME SCRIPT_URL SCRIPT_URI PATH_INFO PATH_TRANSLATED ORIG_PATH_INFO ORIG_SCRIPT_NAME REQUEST_METHOD \
    REQUEST_URI REQUEST_URL REQUEST_PATH REQUEST_SCHEME QUERY_STRING SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE \
    SERVER_ADDR GATEWAY_INTERFACE DOCUMENT_ROOT DOCUMENT_URI CONTEXT_PREFIX CONTEXT_DOCUMENT_ROOT REDIRECT_URL REDIRECT_STATUS \
    REDIRECT_REMOTE_USER REDIRECT_HTTP_AUTHORIZATION UNENCODED_URL WSGI_URL_SCHEME PHP_SELF PHP_AUTH_USER PHP_VALUE \
    X-Script-Name X-Path-Info X-Accel-Redirect X-Accel-Mapping X-Accel-Internal X-Sendfile X-Sendfile-Type \
    X-Middleware-Subrequest X-Middleware-Rewrite X-Middleware-Next X-Middleware-Set-Cookie X-Invoke-Path X-Invoke-Query \
    X-Invoke-Status X-Invoke-Output X-Matched-Path X-Now-Route-Matches X-Replaced-Path X-Request-Uri X-Request-Url \
    X-Request-Path X-Method X-Request-Method X-Verb-Override Method-Override X-HTTP-Method X-HTTP-Method-Override \
    X-Method-Override X-HTTP-Path-Override X-HTTP-Host-Override X-HTTP-Host X-HTTP-Url X-HTTP-Uri X-HTTP-DestinationURL \
    X-Original-URL X-Original-URI X-Original-Method X-Original-Path X-Rewrite-URL X-Override-URL";

const NEVER: &str = "\
    Countersign-Client-Id Countersign-Scope Countersign-Environment Countersign-Binding Countersign-Certificate \
    Countersign-Anything Client-Cert Client-Cert-Chain Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto \
    Authorization Proxy-Authorization DPoP Connection Transfer-Encoding Content-Length Host TE Keep-Alive Upgrade \
    X-HTTP-Method-Override X-HTTP-Method X-Method-Override X-Original-URL X-Original-URI X-Rewrite-URL";

const PLAIN: &str = "\
    Accept Accept-Language Content-Type Content-Encoding User-Agent X-User-Agent Cache-Control If-None-Match Range Origin \
    Referer X-Request-Id X-Api-Key X-Custom X-Client-Version X-Client-Id Countersig X-Forward Real-IP Digest Signature \
    Idempotency-Key X-JWS-Signature X-Customer-User-Agent X-Fapi-Customer-IP-Address X-Fapi-Auth-Date PSU-IP-Address \
    TPP-Redirect-URI Consent-ID X-Ms-Version X-Amzn-Trace-Id X-B3-TraceId Sec-Fetch-Site Upgrade-Insecure-Requests \
    X-Xsrf-Token Client-Id Client-Secret Sec-WebSocket-Key SSLice X-CSRF-Token Via From Date - _ -- HTTP X- X \
    X-HTTP-Request-Id X-HTTP-Client-Id X-HTTP-Version X-Original-Filename X-Original-Content-Length X-Original-Timestamp \
    X-Original-Request-Id X-User-Locale X-User-Language X-User-Timezone X-User-Tz X-Middleware-Prefetch X-Nextjs-Data \
    Request-Id Request-Context X-Request-Start X-Request-Source X-Request-Signature X-Auth-Token X-Auth-Key X-Auth-Signature \
    X-Token X-Token-Type X-Service-Token X-Project X-Path X-Method-Name X-Account-Id X-Org-Id X-Ms-Date X-Accept Scripts \
    Serverless Content-Type Location Destination Authentication-Info Impersonate Document-Policy";

#[test]
fn rule_g19_names_are_recognised_in_every_spelling() {
    for name in FOREIGN.split_whitespace() {
        for spelling in spellings(name) {
            assert_eq!(class_of(&spelling), Some(Class::Gateway), "{spelling}");
        }
    }
    for name in NEVER.split_whitespace() {
        for spelling in spellings(name) {
            let class = class_of(&spelling);
            assert!(
                !matches!(class, None | Some(Class::Gateway | Class::Plain | Class::Exact)),
                "{spelling} {class:?}"
            );
        }
    }
    for name in OVERRIDES.split_whitespace() {
        for spelling in spellings(name).into_iter().chain(spellings(&name.replace('_', "-"))) {
            assert_eq!(class_of(&spelling), Some(Class::Override), "{spelling}");
        }
    }
    for name in PLAIN.split_whitespace() {
        assert!(matches!(class_of(name), None | Some(Class::Plain)), "{name} {:?}", class_of(name));
    }
}

#[test]
fn rule_g19_every_line_of_the_table_is_found_by_its_own_name() {
    for rule in RULES {
        let name = format!("{}{}", rule.text(), if rule.is_prefix() { "z9" } else { "" });
        let first =
            RULES.iter().find(|other| matches(other.text(), other.is_prefix(), name.as_bytes())).unwrap();
        assert_eq!(class_of(&name), Some(first.class), "{name}");
        assert_eq!(
            Pattern::new(rule.text()).unwrap().text.trim_end_matches('-'),
            rule.text().trim_end_matches('-')
        );
    }
}

#[test]
fn two_names_are_one_in_every_spelling() {
    for spelling in spellings("client-id") {
        assert!(same_name("client_id", &spelling), "{spelling}");
    }
    for (left, right) in [("client-id", "clientid"), ("a", "b"), ("a-b", "a-bc"), ("a", ""), ("x-a", "a")] {
        assert!(!same_name(left, right) && !same_name(right, left), "{left} {right}");
    }
}

#[test]
fn patterns_are_names_and_beginnings() {
    for (text, name, fits) in [
        ("X-Acme-User", "x_acme_user", true),
        ("X-Acme-User", "x-acme-users", false),
        ("x-acme-*", "X_Acme__User", true),
        ("x_acme_*", "x-acme-user", true),
        ("x-acme-*", "x-acme", false),
        ("x-acme-*", "x-acmes-user", false),
    ] {
        assert_eq!(Pattern::new(text).unwrap().matches(name), fits, "{text} {name}");
    }
    for text in ["", "*", "-", "-*", "x-acme*", "x.acme", "x acme", "x-*-y", "x-acme-**", "x:", "\u{e9}"] {
        assert!(Pattern::new(text).is_err(), "{text}");
    }
}

#[test]
fn a_plain_name_has_letters_digits_hyphens_and_underscores() {
    for byte in 0..=u8::MAX {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert_eq!(is_plain(&[b'a', byte]), plain, "{byte}");
    }
}
