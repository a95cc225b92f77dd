//! From the configuration to what a reload swaps: the gateway's snapshot and the authorization server's settings.

use crate::config::Configuration;
use crate::config::sections::limits::Limits;
use crate::config::sections::listeners::Serve;
use crate::config::sections::storage::{Storage, WhenStale};
use countersign_gateway::guard::GuardTimes;
use countersign_gateway::guard::limits::{FramingLimits, Http10};
use countersign_gateway::settings::{Networks, Snapshot, Upstream};
use countersign_oauth::{MutualTls, ProtectedResource, SettingsError};
use countersign_policy::RouteTable;
use countersign_policy::decision::{InternalHeaders, InternalHeadersError};
use countersign_policy::route::Duplicate;
use std::sync::Arc;

/// Why a checked configuration is refused all the same: the parts guard themselves too.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Two routes are one.
    #[error("two routes have the same {}", .0.key)]
    Routes(Duplicate),
    /// An upstream's address is none.
    #[error("the address of the upstream {0}")]
    Upstream(String),
    /// The headers of the internal method.
    #[error("[internal]: {0}")]
    InternalHeaders(#[from] InternalHeadersError),
    /// The authorization server refuses its settings.
    #[error(transparent)]
    Oauth(#[from] SettingsError),
}

/// What the gateway works by.
pub(super) fn snapshot(configuration: &Configuration) -> Result<Snapshot, PolicyError> {
    let routes = RouteTable::new(configuration.routes.clone())
        .map_err(|mut duplicates| PolicyError::Routes(duplicates.remove(0)))?;
    let upstreams = configuration.upstreams.iter().map(|upstream| {
        let name = upstream.name.as_str();
        let mut made = Upstream::new(name, &format!("http://{}", upstream.authority))
            .map_err(|_| PolicyError::Upstream(name.to_owned()))?;
        made.connect_timeout = upstream.connect_timeout;
        made.response_timeout = upstream.response_timeout;
        made.idle_timeout = upstream.idle_timeout;
        made.max_idle = upstream.idle_connections;
        made.max_requests = upstream.requests;
        Ok((name.to_owned(), Arc::new(made)))
    });
    Ok(Snapshot {
        routes,
        upstreams: upstreams.collect::<Result<_, PolicyError>>()?,
        limits: limits(&configuration.limits, &configuration.storage),
        balancers: Networks::new(configuration.limits.balancers.clone()),
        internal_headers: InternalHeaders::new(
            configuration.internal.client_id_header.clone(),
            configuration.internal.client_secret_header.clone(),
        )?,
    })
}

/// What the authorization server works by.
pub(super) fn oauth(configuration: &Configuration) -> Result<countersign_oauth::Settings, PolicyError> {
    let resources = configuration.routes.iter().map(ProtectedResource::from);
    let lifetime = configuration.oauth.token_lifetime.as_secs();
    Ok(countersign_oauth::Settings::new(
        configuration.issuer.clone(),
        configuration.apis.clone(),
        resources.collect(),
        u32::try_from(lifetime).unwrap_or(u32::MAX),
        mutual_tls(configuration),
    )?
    .with_rate_limit(configuration.oauth.rate_limit))
}

/// Where the token endpoint sees a certificate: only a listener that asks for one gets one.
fn mutual_tls(configuration: &Configuration) -> MutualTls {
    if !configuration.listeners.iter().any(|listener| listener.asks_for_certificate(Serve::Oauth2)) {
        return MutualTls::Off;
    }
    configuration.oauth.mtls_url.clone().map_or(MutualTls::AtIssuer, MutualTls::At)
}

fn limits(limits: &Limits, storage: &Storage) -> countersign_gateway::settings::Limits {
    countersign_gateway::settings::Limits {
        sizes: FramingLimits {
            head_bytes: limits.header_bytes,
            header_count: limits.header_count,
            body_bytes: limits.body_bytes,
            chunk_overhead_bytes: limits.chunk_overhead_bytes,
            http_1_0: Http10::Nowhere, // each listener says for itself
        },
        times: GuardTimes {
            first: limits.first_request_timeout,
            head: limits.header_timeout,
            idle: limits.idle_timeout,
            body_progress: limits.body_pause_timeout,
            body: limits.body_timeout,
            write_progress: limits.write_pause_timeout,
        },
        handshake: limits.handshake_timeout,
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        failed_handshake_cpu: limits.failed_handshake_cpu,
        connections_per_client: limits.connections_per_client,
        requests_per_client: limits.requests_per_client,
        concurrent_streams: limits.concurrent_streams,
        stream_resets: limits.stream_resets,
        resets_per_second: limits.resets_per_second,
        registry_age: (storage.when_stale == WhenStale::Refuse).then_some(storage.max_staleness),
        shutdown: limits.shutdown_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret_ref::ProcessEnvironment;
    use crate::config::{Surroundings, check};
    use std::time::Duration;

    struct NoEnvironment;
    impl ProcessEnvironment for NoEnvironment {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn snapshot_of(changes: &[(&str, &str)], more: &str) -> Snapshot {
        let mut text = include_str!("../config/good.toml").to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is not in the file");
            text = text.replacen(from, to, 1);
        }
        text += more;
        let around = Surroundings::new("/", &NoEnvironment);
        snapshot(&check(&text, &around).unwrap()).unwrap()
    }

    /// A value that ends in its neighbour's field would be a limit that nobody set. Every value is another one, and both
    /// sides are compared as a whole, so that a new field has to be named here.
    #[test]
    fn rule_g15_each_key_reaches_its_own_limit() {
        let snapshot = snapshot_of(
            &[
                (
                    "url = \"http://127.0.0.1:8446\"",
                    "url = \"http://127.0.0.1:8446\"\nconnect_timeout = \"31s\"\nresponse_timeout = \"32s\"\n\
                     idle_timeout = \"33s\"\nidle_connections = 34\nrequests = 35",
                ),
                (
                    "url = \"sqlite:countersign.db\"",
                    "url = \"sqlite:countersign.db\"\nmax_staleness = \"17s\"",
                ),
            ],
            r#"
[limits]
header_size = "1KiB"
header_count = 2
body_size = "3KiB"
chunk_overhead_size = "4KiB"
handshake_timeout = "5s"
first_request_timeout = "18s"
header_timeout = "6s"
body_timeout = "7s"
body_pause_timeout = "8s"
write_pause_timeout = "9s"
idle_timeout = "10s"
shutdown_timeout = "11s"
connections = 19
connections_per_address = 12
failed_handshake_cpu = "18s"
balancers = ["10.0.0.0/28", "2001:db8::1"]
connections_per_client = 13
requests_per_client = 20
concurrent_streams = 14
stream_resets = 15
resets_per_second = 16
"#,
        );
        let seconds = Duration::from_secs;
        let limits = countersign_gateway::settings::Limits {
            sizes: FramingLimits {
                head_bytes: 1024,
                header_count: 2,
                body_bytes: 3 * 1024,
                chunk_overhead_bytes: 4 * 1024,
                http_1_0: Http10::Nowhere,
            },
            times: GuardTimes {
                first: seconds(18),
                head: seconds(6),
                idle: seconds(10),
                body_progress: seconds(8),
                body: seconds(7),
                write_progress: seconds(9),
            },
            handshake: seconds(5),
            connections: 19,
            connections_per_address: 12,
            failed_handshake_cpu: seconds(18),
            connections_per_client: 13,
            requests_per_client: 20,
            concurrent_streams: 14,
            stream_resets: 15,
            resets_per_second: 16,
            registry_age: Some(seconds(17)),
            shutdown: seconds(11),
        };
        assert_eq!(snapshot.limits, limits);
        let balancers = ["10.0.0.0/28", "2001:db8::1/128"].map(|network| network.parse().unwrap());
        assert_eq!(snapshot.balancers, Networks::new(balancers.into()));
        let mut upstream = Upstream::new("core-banking", "http://127.0.0.1:8446").unwrap();
        upstream.connect_timeout = seconds(31);
        upstream.response_timeout = seconds(32);
        upstream.idle_timeout = seconds(33);
        upstream.max_idle = 34;
        upstream.max_requests = 35;
        assert_eq!(*snapshot.upstreams["core-banking"], upstream);
    }

    #[test]
    fn rule_g16_serving_while_stale_is_no_age_at_all() {
        let stale =
            ("url = \"sqlite:countersign.db\"", "url = \"sqlite:countersign.db\"\nwhen_stale = \"serve\"");
        assert_eq!(snapshot_of(&[stale], "").limits.registry_age, None);
    }

    fn mutual_tls_with(serve: &str) -> MutualTls {
        let source =
            include_str!("../config/good.toml").replacen(r#"serve = ["routes", "oauth2"]"#, serve, 1);
        let around = Surroundings::new("/", &NoEnvironment);
        oauth(&check(&source, &around).unwrap()).unwrap().mutual_tls().clone()
    }

    #[test]
    fn rule_k8_mutual_tls_is_there_where_a_listener_asks_for_it() {
        let together = r#"serve = ["routes", "oauth2"]"#;
        assert_eq!(mutual_tls_with(together), MutualTls::AtIssuer);
        let apart = r#"serve = ["routes"]

[[listeners]]
name = "tokens"
address = "127.0.0.1:8447"
certificate = { ca = ["localhost"] }
serve = ["oauth2"]"#;
        assert_eq!(mutual_tls_with(apart), MutualTls::Off, "the other listener serves no tokens");
        let asked = format!("{apart}\nclient_certificate = \"optional\"");
        assert_eq!(mutual_tls_with(&asked), MutualTls::AtIssuer);
        let elsewhere = format!("{asked}\n\n[oauth]\nmtls_url = \"https://localhost:8447\"");
        assert_eq!(mutual_tls_with(&elsewhere), MutualTls::At("https://localhost:8447".into()));
    }
}
