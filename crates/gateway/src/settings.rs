//! What the binary hands in. What a listener is stays until restart; a [`Snapshot`] is swapped as a whole by a reload,
//! without dropping a connection (rule T10; design, decision 24).

use crate::descriptors::Descriptors;
use crate::essential_tasks::EssentialTasks;
use crate::guard::GuardTimes;
use crate::guard::limits::{FramingLimits, Http10};
use crate::local::LocalService;
use crate::resolve::Resolve;
use arc_swap::ArcSwap;
use countersign_audit::Recorder;
use countersign_model::{Clock, Rng};
use countersign_pki::TrustAnchors;
use countersign_policy::client_auth::{Pepper, Throttle};
use countersign_policy::cost_budget::CostBudget;
use countersign_policy::decision::InternalHeaders;
use countersign_policy::route::TrustConfigurations;
use countersign_policy::{Registry, RouteTable};
use countersign_storage::usage::Usage;
use countersign_token::VerificationKeys;
use foldhash::fast::RandomState;
use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};
use ipnet::IpNet;
use rustls::server::ResolvesServerCert;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Everything that the data path works with.
#[derive(Clone)]
pub struct Settings {
    /// Where we listen.
    pub listeners: Vec<ListenerSettings>,
    /// How many workers: one for each core is right. At least one.
    pub workers: usize,
    /// How many descriptors the data path may take (rule G20).
    pub descriptors: Descriptors,
    /// Our issuer identifier: in tokens, and the base of the addresses in problem documents.
    pub issuer: String,
    /// Routes, upstreams and limits; swapped by a reload.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Whose client certificates are accepted (rule T7).
    pub anchors: Arc<ArcSwap<TrustAnchors>>,
    /// What access tokens are verified with. Swapping it drops the verified tokens of every worker.
    pub token_keys: Arc<ArcSwap<VerificationKeys>>,
    /// Clients and revocations in memory, asked on every request (rule G14).
    pub registry: Arc<dyn Registry>,
    /// What secrets of the `internal` method are compared under.
    pub pepper: Arc<Pepper>,
    /// Counts failed attempts with secrets; shared with the token endpoint (rule C10).
    pub throttle: Arc<dyn Throttle>,
    /// Where last-used times and counts are gathered.
    pub usage: Arc<Usage>,
    /// Where refusals are recorded.
    pub recorder: Recorder,
    /// Tells the present.
    pub clock: Arc<dyn Clock>,
    /// References and interaction ids come from here.
    pub rng: Arc<dyn Rng>,
    /// Told of workers and listeners that end by themselves.
    pub essential_tasks: EssentialTasks,
    /// Finds the addresses of upstreams that are named.
    pub resolver: Arc<dyn Resolve>,
    /// What answers the reserved paths.
    pub local: Arc<dyn LocalService>,
}

impl Settings {
    /// How many connections of one client are exempt from eviction (rule G20): at most a quarter of all.
    pub(crate) fn known_of_client(&self, limits: &Limits) -> usize {
        let all = limits.connections.min(self.descriptors.callers);
        limits.connections_per_client.min((all / 4).max(1))
    }
}

/// One address that we listen on. One listener is one trust configuration (rule T5).
#[derive(Clone)]
pub struct ListenerSettings {
    /// Its name: a metric label and a log field.
    pub name: String,
    /// Where. Port 0 takes a free one.
    pub address: SocketAddr,
    /// Proves us; `None` is plain HTTP (rule T1 says where that may be: the configuration checks it).
    pub certificate: Option<Arc<dyn ResolvesServerCert>>,
    /// Whether TLS asks for a client certificate (rule T4). What a route needs is the route's matter.
    pub client_certificate: ClientCertificateRequest,
    /// Whether it is for those who run this process: its connections come out of the reserve of descriptors, and count
    /// for no address.
    pub operators: bool,
    /// Whether it serves routes to upstreams.
    pub routes: bool,
    /// What it serves by itself.
    pub local: LocalPaths,
    /// Which host names share these settings: any other Host is `host_misdirected` (rule T5). By default all names do.
    /// Swapped by a reload.
    pub trust: Arc<ArcSwap<TrustConfigurations>>,
}

impl ListenerSettings {
    /// Where HTTP/1.0 is answered: where nothing but the public CA documents is, and on the paths of health checks.
    pub(crate) fn http_1_0(&self) -> Http10 {
        match &self.local {
            LocalPaths::Prefixes(prefixes) if !self.routes && prefixes[..] == ["/pki/"] => Http10::Everywhere,
            LocalPaths::All if self.operators => Http10::Paths(&["/livez", "/readyz"]),
            _ => Http10::Nowhere,
        }
    }
}

/// Whether TLS asks for a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificateRequest {
    /// It does not.
    Off,
    /// It does, and goes on without.
    Optional,
    /// It does, and ends the handshake without.
    Required,
}

/// Which paths are the local service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalPaths {
    /// None.
    None,
    /// Those that begin with one of these, such as `/oauth2/`.
    Prefixes(Vec<&'static str>),
    /// All: the admin listener.
    All,
}

impl LocalPaths {
    /// The prefix that `path` is under; the metric label of the request.
    pub(crate) fn prefix_of(&self, path: &str) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Prefixes(prefixes) => prefixes.iter().copied().find(|prefix| path.starts_with(prefix)),
            Self::All => Some("/"),
        }
    }
}

/// What a reload swaps.
pub struct Snapshot {
    /// The routes.
    pub routes: RouteTable,
    /// The upstreams that routes name.
    pub upstreams: HashMap<String, Arc<Upstream>, RandomState>,
    /// The limits.
    pub limits: Limits,
    /// Load balancers that pass TLS on: everybody comes from their addresses, so that no limit counts by them.
    pub balancers: Networks,
    /// The headers of the `internal` method.
    pub internal_headers: InternalHeaders,
}

/// A list of networks; most lists have no entry or a few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// A list of these.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether `address` is in one of them; an IPv4 address also if it is written as one of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// An API behind us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name, as routes call it.
    pub name: String,
    /// Host and port.
    authority: Authority,
    host_header: HeaderValue,
    /// Until the connection stands. Default 2 s.
    pub connect_timeout: Duration,
    /// From the request's last byte to the head of the answer, and between two pieces of its body. Default 30 s.
    pub response_timeout: Duration,
    /// How long an unused connection is kept. Default 30 s: below what servers commonly allow.
    pub idle_timeout: Duration,
    /// How many unused connections each worker keeps. Default 128.
    pub max_idle: usize,
    /// How many requests it may have in flight, over all workers; more get 503. Default 1024.
    pub max_requests: usize,
}

impl Upstream {
    /// An upstream with the default times.
    ///
    /// # Errors
    /// When `url` is not `http://host[:port]` with nothing or `/` behind it.
    pub fn new(name: &str, url: &str) -> Result<Self, UpstreamUrlError> {
        let uri: http::Uri = url.parse().map_err(|_| UpstreamUrlError)?;
        let bare = matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("/"));
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) if bare && !authority.as_str().contains('@') => Ok(Self {
                name: name.to_owned(),
                host_header: HeaderValue::from_str(authority.as_str()).map_err(|_| UpstreamUrlError)?,
                authority: authority.clone(),
                connect_timeout: Duration::from_secs(2),
                response_timeout: Duration::from_secs(30),
                idle_timeout: Duration::from_secs(30),
                max_idle: 128,
                max_requests: 1024,
            }),
            _ => Err(UpstreamUrlError),
        }
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }
}

/// The address of an upstream is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host:port")]
pub struct UpstreamUrlError;

/// How much and how long (rule G15). Each has a safe default; all are per connection unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sizes of heads and bodies.
    pub sizes: FramingLimits,
    /// Times, on either version of HTTP; on HTTP/2 a ping goes out after half of `idle`.
    pub times: GuardTimes,
    /// The whole TLS handshake. Default 5 s (rule T11).
    pub handshake: Duration,
    /// Open connections of all callers; above it, one of an unknown client is closed, or else the new one. Default
    /// 10 000, and at most what the descriptors allow (rule G20).
    pub connections: usize,
    /// Open connections from one address, counted before any TLS work; more are closed. Default 256 (rule T11).
    pub connections_per_address: usize,
    /// CPU time that failed handshakes of one network may take per second; bursts of ten times that are allowed. Above it,
    /// its connections are closed before any TLS work. Default 100 ms (rule T13).
    pub failed_handshake_cpu: Duration,
    /// Open connections with certificates of one client, over all workers; more get 503. Default 1024.
    pub connections_per_client: usize,
    /// Requests of one client that are being forwarded, over all workers; more get 503. Default 256, and at most a quarter
    /// of the connections to upstreams that the descriptors allow (rule G20).
    pub requests_per_client: usize,
    /// HTTP/2 streams at once. Default 128.
    pub concurrent_streams: u32,
    /// HTTP/2 streams that the peer may reset before we have begun them, and errors of its that we reset for (rapid
    /// reset, CVE-2023-44487). Default 20; more end the connection.
    pub stream_resets: usize,
    /// HTTP/2 requests within one second that the peer may take back before they are answered. Default 100; more cut the
    /// connection: each costs us a decision, and the peer nothing.
    pub resets_per_second: u32,
    /// How old the registry may be: a request that comes later is answered with `not_ready`, because what was revoked
    /// since is not known (rule G16). Default 10 s; `None` serves whatever its age.
    pub registry_age: Option<Duration>,
    /// What requests in flight may take when we stop. Default 10 s.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sizes: FramingLimits::default(),
            times: GuardTimes::default(),
            handshake: Duration::from_secs(5),
            connections: 10_000,
            connections_per_address: 256,
            failed_handshake_cpu: Duration::from_millis(100),
            connections_per_client: 1024,
            requests_per_client: 256,
            concurrent_streams: 128,
            stream_resets: 20,
            resets_per_second: 100,
            registry_age: Some(Duration::from_secs(10)),
            shutdown: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// What failed handshakes of one network may cost.
    pub(crate) const fn failed_handshakes(&self) -> CostBudget {
        CostBudget::new(self.failed_handshake_cpu, Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_in_either_spelling() {
        let networks = Networks::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/48".parse().unwrap()]);
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:0:1::1"] {
            assert!(networks.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "2001:db8:1::1", "::10.1.2.3"] {
            assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!Networks::default().contains("10.1.2.3".parse().unwrap()));
    }
}
