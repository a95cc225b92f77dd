//! `/pki/`: what anybody may fetch over plain HTTP, because it is signed: CRLs and the certificates of our CAs.

use crate::Context;
use crate::answer::Refused;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use bytes::Bytes;
use countersign_model::certificate::{CrlRecord, IssuerRole};
use countersign_model::{IssuerId, ReasonCode};
use countersign_pki::pem;
use countersign_policy::Denial;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::sync::Arc;

/// The router of the public documents.
pub fn router() -> Router<Arc<Context>> {
    Router::new()
        .route("/pki/crl/{issuer}/{shard}", get(crl))
        .route(CA_BUNDLE_PATH, get(ca_bundle))
        .route("/pki/{certificate}", get(certificate))
}

/// Where the roots are, as a file that `--cacert` takes.
pub const CA_BUNDLE_PATH: &str = "/pki/ca.pem";

/// The roots in PEM, as `init` writes them into `ca.crt` (RFC 8555 section 9.1 for the type). It cannot vouch for itself: who
/// fetches it over a connection that it does not verify yet compares the fingerprint with the operator's.
async fn ca_bundle(State(context): State<Arc<Context>>) -> Response {
    let Ok(roots) = context.ca.trusted(IssuerRole::Root) else { return not_found() };
    let bundle: String =
        roots.iter().map(|root| pem::encode(pem::Label::Certificate, &root.certificate)).collect();
    document("application/pem-certificate-chain", "public, max-age=3600", bundle.into())
}

/// RFC 5280 section 4.2.1.13: DER, as `application/pkix-crl` (RFC 2585).
async fn crl(State(context): State<Arc<Context>>, Path((issuer, shard)): Path<(String, String)>) -> Response {
    let shard = shard.strip_suffix(".crl").and_then(|shard| shard.parse::<u16>().ok());
    let found =
        issuer.parse::<IssuerId>().ok().zip(shard).and_then(|(issuer, shard)| context.ca.crl(&issuer, shard));
    let Some(crl) = found else { return not_found() };
    crl_document(crl)
}

fn crl_document(crl: Arc<CrlRecord>) -> Response {
    // A revocation publishes a new list at once: nobody may hold on to this one for long (rule R2).
    document("application/pkix-crl", "public, max-age=60, must-revalidate", Bytes::from_owner(Served(crl)))
}

/// The bytes of a list on their way to a caller: those that are served, and no copy. With 100,000 entries a list has four
/// megabytes, and anybody may fetch it as often as it likes.
struct Served(Arc<CrlRecord>);

impl AsRef<[u8]> for Served {
    fn as_ref(&self) -> &[u8] {
        &self.0.der
    }
}

/// RFC 5280 section 4.2.2.1: DER, as `application/pkix-cert` (RFC 2585).
async fn certificate(State(context): State<Arc<Context>>, Path(name): Path<String>) -> Response {
    let issuer = name.strip_suffix(".crt").and_then(|issuer| issuer.parse::<IssuerId>().ok());
    let found = issuer.and_then(|issuer| context.ca.issuer_certificate(&issuer).map(<[u8]>::to_vec));
    match found {
        Some(der) => document("application/pkix-cert", "public, max-age=86400", der.into()),
        None => not_found(),
    }
}

fn document(content_type: &'static str, caching: &'static str, content: Bytes) -> Response {
    let headers: [(HeaderName, &'static str); 2] = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, caching)];
    (headers, content).into_response()
}

fn not_found() -> Response {
    Refused(Denial::new(ReasonCode::RouteNotFound).note("no such document")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::Timestamp;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn rule_g20_a_list_is_served_without_a_copy_for_each_caller() {
        let (this_update, next_update) = (Timestamp::default(), Timestamp::default());
        let (issuer, der) = ("clients".parse().unwrap(), vec![0x5a; 4 << 20]);
        let crl = Arc::new(CrlRecord { issuer, shard: 0, number: 1, this_update, next_update, der });
        for _ in 0..3 {
            let body = crl_document(crl.clone()).into_body().collect().await.unwrap().to_bytes();
            assert_eq!((body.as_ptr(), body.len()), (crl.der.as_ptr(), crl.der.len()));
        }
        assert_eq!(Arc::strong_count(&crl), 1, "and let go of when it is sent");
    }
}
