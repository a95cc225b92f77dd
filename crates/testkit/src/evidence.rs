//! What a test server has recorded.

use crate::client::{Answer, Identity};
use crate::seen;
use crate::server::TestServer;
use http::Method;
use serde_json::Value;

impl TestServer {
    /// The records of the audit log with this action, newest first.
    pub async fn audit(&self, action: &str) -> Vec<Value> {
        let path = format!("/admin/v1/audit?limit=1000&action={action}");
        let answer = self.administer(Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let records = answer.json()["records"].as_array().unwrap().clone();
        records.iter().for_each(seen::in_record);
        records
    }

    /// The record of a handshake that was refused because of this certificate. The alert is out before the record is
    /// written, so it is waited for.
    pub async fn handshake_refusal(&self, identity: &Identity) -> Value {
        let thumbprint = countersign_pki::thumbprint(&identity.chain[0]).to_string();
        for _ in 0..1000 {
            let mut records = self.audit("handshake_refused").await.into_iter();
            if let Some(record) = records.find(|record| record["certificate"]["thumbprint"] == *thumbprint) {
                return record;
            }
        }
        panic!("no record of {thumbprint}");
    }

    /// The record behind the reference of a refusal.
    pub async fn explanation(&self, refusal: &Answer) -> Value {
        let path = format!("/admin/v1/audit/{}", refusal.header("countersign-ref"));
        let answer = self.administer(Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let record = answer.json()["records"][0].clone();
        seen::in_record(&record);
        record
    }
}
