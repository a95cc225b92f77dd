//! `countersign_token_requests_total{method,result,error}`: closed label sets.

use crate::support::*;
use countersign_model::ReasonCode;
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Counters by name and labels.
#[derive(Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct Count(String, Arc<Mutex<BTreeMap<String, u64>>>);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        *self.1.lock().unwrap().entry(self.0.clone()).or_default() += value;
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Counter::from_arc(Arc::new(Count(format!("{}{{{}}}", key.name(), labels.join(",")), self.0.clone())))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn every_outcome_is_counted_by_method_and_exact_reason() {
    let counts = Counts::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&counts, || {
        runtime.block_on(async {
            let world = World::new().await;
            world.token(world.acme()).await;
            world.token(world.shop()).await;
            world.token(world.shop()).await;
            world.refused(Call::form("grant_type=client_credentials").basic("nobody", "x")).await;
            world.refused(Call::form("")).await;
            world.break_off(Call::form(""), ReasonCode::RequestTooSlow.into()).await;
        });
    });
    let counted: Vec<String> =
        counts.0.lock().unwrap().iter().map(|(name, count)| format!("{name} {count}")).collect();
    assert_eq!(
        counted,
        [
            "countersign_token_requests_total{method=client_secret_basic,result=issued,error=none} 2",
            "countersign_token_requests_total{method=client_secret_basic,result=refused,error=client_unknown} 1",
            "countersign_token_requests_total{method=none,result=refused,error=request_parameter_missing} 1",
            "countersign_token_requests_total{method=none,result=refused,error=request_too_slow} 1",
            "countersign_token_requests_total{method=tls_client_auth,result=issued,error=none} 1",
        ]
    );
}
