//! Upstreams that are named, and names that lead nowhere (rule G20).

use crate::upstream;
use crate::world::{Options, SOON, World, get};
use countersign_gateway::Upstream;
use countersign_gateway::resolve::Resolve;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Knows one name; counts how often it is asked for others.
struct OneName {
    address: SocketAddr,
    asked: AtomicUsize,
}

impl Resolve for OneName {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match host {
            "api.internal" => Ok(vec![SocketAddr::new(self.address.ip(), port)]),
            _ => Err(io::Error::other("no such name")),
        }
    }
}

#[tokio::test]
async fn rule_g20_a_name_that_leads_nowhere_is_looked_up_once_for_all_callers() {
    let (address, _counts) = upstream::echo().await;
    let named = |name: &str, host: &str| Upstream::new(name, &format!("http://{host}:{}", address.port()));
    let resolver = Arc::new(OneName { address, asked: AtomicUsize::new(0) });
    let world = World::start_with(Options {
        upstreams: vec![named("gone", "gone.internal").unwrap(), named("there", "api.internal").unwrap()],
        resolver: resolver.clone(),
        ..Options::default()
    })
    .await;
    let token = world.token("acme-pay", Some(&world.acme));
    let calls = async {
        let mut callers = Vec::new();
        for _ in 0..20 {
            callers.push(world.connect(Some(&world.acme)).await);
        }
        for caller in &mut callers {
            caller.send(get("/gone/", &token)).await;
        }
        for caller in &mut callers {
            assert_eq!(caller.reply().await.refusal(), (502, "upstream_unreachable".to_owned()));
        }
        callers.len()
    };
    let began = std::time::Instant::now();
    let callers = tokio::time::timeout(SOON, calls).await.unwrap();
    // One for all of them; another one for each second that a slow machine took.
    let asked = resolver.asked.load(Ordering::SeqCst);
    assert!(asked <= 1 + usize::try_from(began.elapsed().as_secs()).unwrap(), "{asked} for {callers}");
    let (mut raw, _) = world.acme().await;
    for _ in 0..3 {
        assert_eq!(raw.call(get("/there/", &token)).await.status, 200);
    }
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200, "an address as it is");
    assert!(world.audit_log().await.contains("gone: its name is not found: no such name"));
}

/// Knows an upstream where it was, and then where it is.
struct Moves {
    was: SocketAddr,
    is: SocketAddr,
    asked: AtomicUsize,
}

impl Resolve for Moves {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(vec![if asked == 0 { self.was } else { self.is }])
    }
}

#[tokio::test]
async fn an_upstream_that_moved_is_found_by_the_call_that_misses_it() {
    let (is, _counts) = upstream::echo().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let was = listener.local_addr().unwrap();
    drop(listener);
    let resolver = Arc::new(Moves { was, is, asked: AtomicUsize::new(0) });
    let world = World::start_with(Options {
        upstreams: vec![Upstream::new("moves", "http://api.internal:1").unwrap()],
        resolver: resolver.clone(),
        ..Options::default()
    })
    .await;
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/moves/", &token)).await.status, 200);
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 2);
}
