//! Metrics: names by convention, labels from closed sets.

use crate::pki::Flaw;
use crate::world::{World, get, uri};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// One recorder for the whole test binary: it is global.
pub(crate) fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

#[tokio::test]
async fn metrics_have_their_names_and_closed_labels() {
    let metrics = metrics();
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    raw.call(get("/data/", &token)).await;
    raw.call(get("/data/", "rubbish")).await;
    raw.call(get("/made/up/by/the/caller", &token).replacen("GET", "X-CALLER-S-OWN", 1)).await;
    raw.call("POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    let expired = world.clients_ca.client(&uri("acme-pay"), Flaw::Expired);
    let mut dial = world.dial(Some(&expired));
    dial.tls12 = true;
    assert!(dial.tls().await.is_err());
    world.audit_log().await;
    let text = metrics.render();
    for part in [
        r#"countersign_decisions_total{route="data",decision="allow",reason="none"}"#,
        r#"countersign_decisions_total{route="data",decision="deny",reason="token_malformed"}"#,
        r#"countersign_decisions_total{route="none",decision="deny",reason="route_not_found"}"#,
        r#"countersign_tls_handshakes_total{listener="public",version="1.3",result="ok"}"#,
        r#"countersign_tls_handshakes_total{listener="public",version="none",result="client_certificate_refused"}"#,
        r#"countersign_tls_client_verify_failures_total{listener="public",reason="certificate_expired"}"#,
        r#"countersign_connections_active{listener="public"}"#,
        r#"countersign_descriptors_limit{share="connections"}"#,
        r#"countersign_descriptors_limit{share="upstreams"}"#,
        r#"http_route="data",http_request_method="GET",http_response_status_code="200""#,
        r#"http_route="/oauth2/",http_request_method="POST",http_response_status_code="200""#,
        r#"http_route="none",http_request_method="_OTHER",http_response_status_code="404""#,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(
        !text.contains("caller") && !text.contains("CALLER"),
        "nothing that a caller controls is a label"
    );
}
