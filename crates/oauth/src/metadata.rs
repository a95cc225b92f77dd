//! The documents that describe the authorization server: its metadata (RFC 8414, RFC 8705 section 5), that of each
//! protected resource (RFC 9728), and the JWKS (RFC 7517). Public, without a certificate (rule T4).
//!
//! What is listed is what works, and all of it (rule K8): the lists are made from the enums that the code matches on.

use crate::Settings;
use crate::settings::{MutualTls, ProtectedResource};
use crate::token_keys::{JWKS_MAX_AGE_S, PublishedKeys};
use countersign_model::Scope;
use countersign_model::client::AuthMethod;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Where the authorization server's metadata is (RFC 8414 section 3; our issuer has no path).
pub const AUTHORIZATION_SERVER_PATH: &str = "/.well-known/oauth-authorization-server";

/// Where some client libraries look for the metadata by default (OpenID Connect Discovery section 4). The same document is
/// there: we are no OpenID provider, and claim to be none.
pub const OPENID_CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

/// Where the metadata of protected resources is; the route's name follows after a slash (RFC 9728 section 3).
pub const PROTECTED_RESOURCE_PATH: &str = "/.well-known/oauth-protected-resource";

/// The token endpoint.
pub const TOKEN_PATH: &str = "/oauth2/token";

/// The JWKS.
pub const JWKS_PATH: &str = "/oauth2/jwks";

/// The documents that follow from the settings alone: made once, and again after a reload.
#[derive(Debug, Clone)]
pub struct Metadata {
    authorization_server: Value,
    protected_resources: HashMap<String, Value>,
}

impl Metadata {
    /// Makes the documents.
    pub fn new(settings: &Settings) -> Self {
        let resource =
            |resource: &ProtectedResource| (resource.name.clone(), protected_resource(resource, settings));
        Self {
            authorization_server: authorization_server(settings),
            protected_resources: settings.resources().iter().map(resource).collect(),
        }
    }

    /// The authorization server's metadata.
    pub fn authorization_server(&self) -> Response<Vec<u8>> {
        document("application/json", self.authorization_server.to_string().into_bytes())
    }

    /// The metadata of the route `name`; `None` when there is no such route.
    pub fn protected_resource(&self, name: &str) -> Option<Response<Vec<u8>>> {
        let metadata = self.protected_resources.get(name)?;
        Some(document("application/json", metadata.to_string().into_bytes()))
    }
}

/// The JWKS. Others may keep it for less long than a new key is published before it signs.
pub fn jwks(keys: &PublishedKeys) -> Response<Vec<u8>> {
    document("application/jwk-set+json", keys.document().to_vec())
}

/// RFC 8414 section 2.
fn authorization_server(settings: &Settings) -> Value {
    let issuer = settings.issuer();
    let scopes: BTreeSet<&Scope> = settings.apis().iter().flat_map(|api| api.scopes.keys()).collect();
    let resources: Vec<String> =
        settings.resources().iter().map(|resource| settings.resource_identifier(&resource.name)).collect();
    let mutual_tls = *settings.mutual_tls() != MutualTls::Off;
    let works = |method: &AuthMethod| mutual_tls || *method != AuthMethod::TlsClientAuth;
    let methods: Vec<_> = AuthMethod::ALL.into_iter().filter(works).map(AuthMethod::as_str).collect();
    let mut metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}{TOKEN_PATH}"),
        "jwks_uri": format!("{issuer}{JWKS_PATH}"),
        "scopes_supported": scopes,
        // Required by section 2, and empty: there is no authorization endpoint.
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": methods,
        // RFC 8705 section 3.3.
        "tls_client_certificate_bound_access_tokens": mutual_tls,
        // RFC 9728 section 4.
        "protected_resources": resources,
    });
    if let MutualTls::At(origin) = settings.mutual_tls() {
        // RFC 8705 section 5.
        metadata["mtls_endpoint_aliases"] = json!({ "token_endpoint": format!("{origin}{TOKEN_PATH}") });
    }
    metadata
}

/// RFC 9728 section 2.
fn protected_resource(resource: &ProtectedResource, settings: &Settings) -> Value {
    json!({
        // Section 3.3: identical to what stands before and after the well-known part of this document's address.
        "resource": settings.resource_identifier(&resource.name),
        "resource_name": resource.name,
        "authorization_servers": [settings.issuer()],
        "scopes_supported": resource.scopes,
        // Rule G1: the header only.
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": resource.bound,
    })
}

fn document(content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={JWKS_MAX_AGE_S}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}
