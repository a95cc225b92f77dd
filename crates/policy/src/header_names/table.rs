//! The names that mean something here, by whose they are (rule G19).
//!
//! What other gateways, load balancers and server modules tell the servers behind them of the caller. A server that once
//! stood behind one of them may believe such a header still; a caller who sends it must not be believed. A `*` ends the
//! beginning of names. Where two rules fit, the first one counts.

use super::{Class, fold, matches};

/// One line of the table.
pub(super) struct Rule {
    /// Folded; with `*` at its end it is a beginning.
    written: &'static str,
    pub(super) class: Class,
}

impl Rule {
    pub(super) fn is_prefix(&self) -> bool {
        self.written.ends_with('*')
    }

    /// Without the `*`.
    pub(super) fn text(&self) -> &'static str {
        self.written.strip_suffix('*').unwrap_or(self.written)
    }

    /// Whether some name is meant by both.
    pub(super) fn overlaps(&self, text: &str, is_prefix: bool) -> bool {
        matches(text, is_prefix, self.text().as_bytes())
            || matches(self.text(), self.is_prefix(), text.as_bytes())
            || (is_prefix && self.is_prefix() && self.text() == text)
    }
}

macro_rules! rules {
    ($($class:ident: $($written:literal)+;)+) => {
        &[$($(Rule { written: $written, class: Class::$class },)+)+]
    };
}

pub(super) static RULES: &[Rule] = RULES_;

const RULES_: &[Rule] = rules! {
    // What clients say of their program, their file or their own setting, in spite of the beginning; and what Next.js sends from
    // browsers.
    Plain: "x-user-agent" "x-user-locale" "x-user-language" "x-user-timezone" "x-user-tz" "x-original-filename"
        "x-original-content-length" "x-original-timestamp" "x-original-request-id" "x-middleware-prefetch";

    // One connection's own (RFC 9110 section 7.6.1), and what framing is made of: the message is rebuilt (rule G12).
    Connection: "connection" "content-length" "expect" "host" "http2-settings" "keep-alive" "proxy-authenticate"
        "proxy-connection" "te" "trailer" "transfer-encoding" "upgrade";

    Credential: "authorization" "dpop" "proxy-authorization";
    Ours: "countersign" "countersign-*" "client-cert" "client-cert-chain";
    Way: "forwarded" "x-forwarded-for" "x-forwarded-host" "x-forwarded-proto";
    Exact: "cookie" "traceparent" "tracestate" "x-fapi-interaction-id";

    // IIS and its kin, Symfony, Zend, Rack, Traefik, Next.js, and proxies that rewrite.
    Override: "method-override" "x-method" "x-method-override" "x-verb-override" "x-http-method" "x-http-method-*"
        "x-http-override" "x-http-path" "x-http-path-*" "x-http-host" "x-http-host-*" "x-http-uri" "x-http-url"
        "x-http-destinationurl" "x-original-method" "x-original-path" "x-original-uri" "x-original-url" "x-override-url"
        "x-rewrite-*" "x-replaced-path" "x-matched-path" "x-now-route-matches" "x-invoke-*" "x-middleware-*" "x-script-name"
        "x-path-info" "x-request-method" "x-request-path" "x-request-uri" "x-request-url";

    // Files that a front server would send instead of the answer, or where to look for them.
    Override: "x-accel-*" "x-sendfile" "x-sendfile-*";

    // Variables of CGI (RFC 3875 section 4.1), FastCGI, WSGI, PHP and IIS. Some servers take them from header fields:
    // gunicorn cuts the value of `SCRIPT_NAME` off the path.
    Override: "script-*" "path-info" "path-translated" "orig-path-info" "orig-script-name" "request-method" "request-path"
        "request-scheme" "request-uri" "request-url" "query-string" "server-*" "gateway-interface" "document-root"
        "document-uri" "context-prefix" "context-document-root" "redirect-*" "unencoded-url" "wsgi-*" "php-*";
    Gateway: "auth-type" "logon-user" "cert-*";

    // RFC 7239 under other names, and what load balancers say of the client's address, host and scheme.
    Gateway: "forwarded-*" "x-forwarded" "x-forwarded-*" "x-original-*" "client-ip" "true-client-ip" "x-client-ip"
        "x-cluster-client-ip" "x-real-*" "x-remote-*" "remote-*" "x-originating-ip" "x-host" "x-scheme" "x-url-scheme"
        "front-end-https" "https" "x-https" "proxy" "proxy-*" "wl-proxy-*" "x-proxyuser-ip" "x-coming-from" "x-from-ip"
        "do-connecting-ip" "incap-client-ip" "x-sucuri-*" "x-nf-client-*" "fly-*" "fastly-*" "akamai-*" "x-akamai-*"
        "disguised-host" "x-backend-host" "x-server-addr" "x-peer-*" "x-true-client-ip" "x-clientip" "x-source-ip"
        "client-address" "x-client-address" "x-forwardedfor" "z-forwarded-for" "ns-client-ip" "cdn-src-ip" "x-cdn-src-ip"
        "ali-cdn-*";

    // Certificates, as nginx, Apache, HAProxy, IIS, Traefik and Envoy pass them on.
    Gateway: "ssl" "ssl-*" "x-ssl" "x-ssl-*" "tls-*" "x-tls-*" "mtls-*" "x-mtls-*" "client-certificate"
        "client-certificate-*" "client-cert-*" "client-dn" "client-s-dn" "client-i-dn" "client-ssl-*" "client-tls-*"
        "client-verify" "x-client-cert" "x-client-cert-*" "x-client-certificate" "x-client-certificate-*" "x-client-cn"
        "x-client-dn" "x-client-s-dn" "x-client-i-dn" "x-client-subject" "x-client-subject-*" "x-client-issuer"
        "x-client-issuer-*" "x-client-serial" "x-client-serial-*" "x-client-fingerprint" "x-client-san" "x-client-san-*"
        "x-client-ssl-*" "x-client-tls-*" "x-client-verify" "x-client-verified" "x-clientcert" "x-cert" "x-cert-*"
        "x-certificate" "x-certificate-*" "x-dn" "x-subject-dn" "x-issuer-dn" "x-spiffe-*" "ajp-*"
        "sslclient*" "x-sslclient*" "ms-aspnetcore-*" "xfcc" "x-xfcc" "nsc-*" "ns-client-cert" "x-ns-client-cert";

    // Kong, APISIX, Tyk, KrakenD, WSO2, MuleSoft, 3scale, Apigee, WebSEAL, SiteMinder, Oracle, Ping.
    Gateway: "x-consumer-*" "x-anonymous-consumer" "x-credential-*" "x-authenticated-*" "x-kong-*" "x-tyk-*"
        "x-userinfo" "x-access-token" "x-id-token" "x-refresh-token" "x-jwt-*" "x-agw-*" "x-anypnt-*" "x-3scale-*"
        "x-apigee-*" "iv-*" "sm-*" "smuser" "oam-*" "osso-*" "x-pingaccess-*" "pa-user" "x-scope-orgid"
        "x-proxy-*" "eai-*" "am-eai-*" "x-jwt" "jwt-claim-*" "x-claims" "x-claim-*";

    // Servers that take a user from the proxy before them: OpenStack (keystonemiddleware), Kubernetes, Kubeflow, Hasura,
    // Elasticsearch, NiFi, CouchDB, WebObjects.
    Gateway: "x-project-id" "x-project-name" "x-project-domain-*" "x-tenant-id" "x-tenant-name" "x-domain-id" "x-domain-name"
        "x-service-user-*" "x-service-roles" "x-service-catalog" "x-service-project-*" "x-service-domain-*"
        "x-service-identity-*" "x-is-admin" "x-is-admin-*" "impersonate-*" "kubeflow-*" "x-hasura-*" "es-security-*"
        "es-secondary-*" "x-proxied*" "x-auth-couchdb-*" "x-webobjects-*";

    // Clouds: Azure, AWS, Google, Cloudflare, Heroku's kin.
    Gateway: "x-ms-client-principal" "x-ms-client-principal-*" "x-ms-token-*" "x-ms-auth-*" "x-arr-*" "x-azure-*"
        "x-waws-*" "was-default-hostname" "x-appservice-*" "x-amzn-oidc-*" "x-amzn-mtls-*" "x-amzn-tls-*"
        "x-amzn-apigateway-*" "x-amzn-request-context" "x-amzn-lambda-context" "cloudfront-*" "x-goog-authenticated-user-*"
        "x-goog-iap-*" "x-appengine-*" "x-apigateway-*" "x-endpoint-api-userinfo" "cf-*" "x-vercel-*";

    // Meshes and sidecars: Envoy, Istio, Linkerd, Dapr.
    Gateway: "x-envoy-*" "x-istio-*" "sec-istio-*" "l5d-*" "dapr-caller-*";

    // Programs that sign users in before the server: oauth2-proxy, Authelia, authentik, Pomerium, Vouch, Teleport,
    // Tailscale, Grafana's kin, and Apache's modules for OpenID Connect, SAML and Shibboleth.
    Gateway: "gap-auth" "x-auth-request-*" "x-auth-user" "x-auth-username" "x-auth-userid" "x-auth-user-*" "x-auth-email"
        "x-auth-group" "x-auth-groups" "x-auth-name" "x-auth-role" "x-auth-roles" "x-auth-subject" "x-auth-principal"
        "auth-user" "auth-mail" "auth-groups" "auth-cn" "x-authn-*" "x-authz-*" "x-authentik-*" "x-pomerium-*" "x-vouch-*"
        "x-webauth-*" "x-teleport-*" "teleport-*" "tailscale-*" "oidc-*" "x-oidc-*" "mellon-*" "shib-*" "x-shib-*"
        "cas-user" "x-cas-*" "x-saml-*" "x-auth-scopes" "x-auth-client-id" "x-token-user-*" "x-token-subject" "x-token-sub" "x-auth-sub" "x-sso-*"
        "sso-user" "x-ldap-*" "x-openid-*" "x-kratos-*" "x-verified-*" "x-authorized-*";

    // What is made up everywhere. Clients of honest APIs send `x-client-id`, which is not here.
    Gateway: "x-user" "x-user-*" "x-username" "x-userid" "x-groups" "x-roles" "x-role" "x-principal" "x-principal-*"
        "x-identity" "x-identity-*" "x-impersonate-*" "x-delegate-user" "x-session-user" "x-countersign" "x-countersign-*" "x-email" "x-subject" "x-scope" "x-scopes" "x-logged-in-user" "x-current-user";
};

/// Names are told apart by their first two letters or digits; those that begin with `x-` by the two behind it. So a name is
/// compared with a handful of rules, and most names with none.
const KEYS: usize = 2 * 36 * 37;

/// The rules in the order of their keys, and where each key begins.
struct Index {
    order: [u16; RULES_.len()],
    starts: [u16; KEYS + 1],
}

static INDEX: Index = {
    assert!(RULES_.len() <= u16::MAX as usize);
    let mut index = Index { order: [0; RULES_.len()], starts: [0; KEYS + 1] };
    let mut rule = 0;
    while rule < RULES_.len() {
        let Some(key) = key_of(RULES_[rule].written.as_bytes()) else { panic!("a rule without a key") };
        index.starts[key + 1] += 1;
        rule += 1;
    }
    let mut key = 0;
    while key < KEYS {
        index.starts[key + 1] += index.starts[key];
        key += 1;
    }
    let mut placed = [0; KEYS];
    rule = 0;
    while rule < RULES_.len() {
        if let Some(key) = key_of(RULES_[rule].written.as_bytes()) {
            index.order[(index.starts[key] + placed[key]) as usize] = rule as u16;
            placed[key] += 1;
        }
        rule += 1;
    }
    index
};

/// The rules that could mean a name.
pub(super) fn candidates(core: &[u8]) -> impl Iterator<Item = &'static Rule> + use<> {
    let range =
        key_of(core).map_or(0..0, |key| usize::from(INDEX.starts[key])..usize::from(INDEX.starts[key + 1]));
    INDEX.order[range].iter().map(|&rule| &RULES[usize::from(rule)])
}

const fn key_of(core: &[u8]) -> Option<usize> {
    let (mut at, mut key) = (0, 0);
    if core.len() > 2 && fold(core[0]) == b'x' && fold(core[1]) == b'-' {
        (at, key) = (2, 36 * 37);
        while at < core.len() && fold(core[at]) == b'-' {
            at += 1;
        }
    }
    if at == core.len() {
        return None;
    }
    let first = digit_of(core[at]);
    let second = if at + 1 == core.len() { 36 } else { digit_of(core[at + 1]) };
    if first == 36 { None } else { Some(key + first * 37 + second) }
}

/// A letter or digit as a number; 36 for a separator.
const fn digit_of(byte: u8) -> usize {
    match fold(byte) {
        letter @ b'a'..=b'z' => (letter - b'a') as usize,
        digit @ b'0'..=b'9' => (digit - b'0') as usize + 26,
        _ => 36,
    }
}
