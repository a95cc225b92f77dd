//! `[[upstreams]]`: what is behind us.

use super::unique_names;
use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{At, section};
use crate::config::values::{Name, Origin, Period};
use std::num::NonZeroU32;
use std::time::Duration;

section! {
    /// An API behind the gateway.
    UpstreamSection = "[[upstreams]]" {
        /// Its name; routes name it.
        name: Name = Required;
        /// Where it is: `http://host:port`.
        url: Origin = Required;
        /// How long a connection to it may take.
        connect_timeout: Period = Default("\"2s\"");
        /// How long it may take until its response begins, and pause in the middle of one.
        response_timeout: Period = Default("\"30s\"");
        /// How long an unused connection is kept: less than the upstream itself keeps it.
        idle_timeout: Period = Default("\"30s\"");
        /// How many unused connections each core keeps.
        idle_connections: NonZeroU32 = Default("128");
        /// Maximum concurrent requests; more are answered with 503. A request counts until its answer has ended; an open stream counts all the time. The effective limit is the lower of this value and half of the upstream connections that open files allow. One client may have a quarter of it, and more only while a quarter is free for other clients.
        requests: NonZeroU32 = Default("1024");
    }
}

/// An API behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: Name,
    /// `host:port`, as the `Host` header names it.
    pub authority: String,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long until its response begins, and how long it may pause.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How many unused connections each core keeps.
    pub idle_connections: usize,
    /// How many requests it may have at once, from the request to the end of the answer.
    pub requests: usize,
}

/// Checks all upstreams.
pub(crate) fn check(sections: &[At<UpstreamSection>], out: &mut Mistakes) -> Vec<Upstream> {
    unique_names("upstream", sections.iter().map(|section| &section.value.name), out);
    sections.iter().filter_map(|section| section.value.check(out)).collect()
}

impl UpstreamSection {
    fn check(&self, out: &mut Mistakes) -> Option<Upstream> {
        let url = self.url.get()?;
        if url.value.scheme() != "http" {
            let mistake = Mistake::new(
                url.entry.clone(),
                "upstreams are reached over plain HTTP",
                "TLS to upstreams is not there yet",
            );
            out.add(mistake.help("use http:// inside one host or a protected network"));
            return None;
        }
        Some(Upstream {
            name: self.name.value()?.clone(),
            authority: url.value.authority().to_owned(),
            connect_timeout: self.connect_timeout.value()?.0,
            response_timeout: self.response_timeout.value()?.0,
            idle_timeout: self.idle_timeout.value()?.0,
            idle_connections: usize::try_from(self.idle_connections.value()?.get()).ok()?,
            requests: usize::try_from(self.requests.value()?.get()).ok()?,
        })
    }
}
