//! Limits on who holds how much (rule G15).

use crate::world::{Options, World, get};
use countersign_gateway::Limits;

#[tokio::test]
async fn rule_g15_connections_of_one_client_are_capped() {
    let limits = Limits { connections_per_client: 1, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    // The cap is each worker's, and there are two.
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..6 {
        let mut raw = world.connect(Some(&world.acme)).await;
        let reply = raw.call(get("/data/", &token)).await;
        if reply.status == 200 {
            open.push(raw);
        } else {
            assert_eq!(reply.refusal(), (503, "connections_exhausted".to_owned()));
            assert!(reply.header("retry-after").is_some());
            raw.closed().await;
            refused += 1;
        }
    }
    assert!(refused >= 4, "{refused}");
}
