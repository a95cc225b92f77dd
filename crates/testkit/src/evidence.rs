//! What a test server has recorded.

use crate::answer::Answer;
use crate::client::Identity;
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

    /// The newest record with this action that `is_it`. What happens below a request is recorded after its peer has seen
    /// it happen, so that the record is waited for.
    pub async fn recorded(&self, action: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1000 {
            if let Some(record) = self.audit(action).await.into_iter().find(&is_it) {
                return record;
            }
        }
        panic!("there is no such record of {action}: {:#?}", self.audit(action).await);
    }

    /// The record of a handshake that was refused because of this certificate.
    pub async fn handshake_refusal(&self, identity: &Identity) -> Value {
        let thumbprint = countersign_pki::thumbprint(&identity.chain[0]).to_string();
        self.recorded("handshake_refused", |record| record["certificate"]["thumbprint"] == *thumbprint).await
    }

    /// The record behind the reference of a refusal.
    pub async fn explanation(&self, refusal: &Answer) -> Value {
        let path = format!("/admin/v1/audit/{}", refusal.header("countersign-ref"));
        let answer = self.administer(Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let records = answer.json()["records"].as_array().cloned().unwrap();
        // What was committed before the call failed stands under the same reference, before or behind the refusal.
        let record = records.into_iter().find(|record| record["reason"].is_string());
        let record = record.unwrap_or_else(|| panic!("no refusal under {path}"));
        seen::in_record(&record);
        record
    }
}
