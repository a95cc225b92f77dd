//! The product's main job: issue a certificate, get a bound token, call an API, revoke, be refused.

use countersign_testkit::TestServer;

#[tokio::test]
async fn a_partner_is_served_until_its_certificate_is_revoked() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read", "pay:write"]).await;
    let acme = server.certificate("acme-pay").await;
    let token = server.bound_token("acme-pay", &acme).await;

    let mut connection = server.caller(Some(&acme)).connect().await.unwrap();
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let answer = connection.send(http::Method::GET, "/data/accounts?x=1", &headers, "").await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["path"], "/accounts?x=1");

    let revoked = server.revoke(&acme, "keyCompromise").await;
    assert_eq!(revoked.status, 200, "{}", String::from_utf8_lossy(&revoked.body));
    assert_eq!(revoked.json()["connections_cut"], 1);
    let refused = connection.send(http::Method::GET, "/data/accounts", &headers, "").await.unwrap();
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("certificate_revoked")));
    assert_eq!(server.upstream.requests(), 1);
    server.server.shutdown().await.unwrap();
}
