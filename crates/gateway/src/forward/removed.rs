//! Which header fields of a caller an upstream does not get, as the operator is told: a count by route and class, and a line
//! at DEBUG with their names (rule G19). Hop-by-hop fields and credentials are not told of: they end here in each request.

use crate::observe::RouteMetrics;
use countersign_policy::Permit;
use countersign_policy::header_names::Class;
use countersign_policy::route::Removal;
use tracing::Level;

/// What was taken out of one request. Costs nothing while there is nothing.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// By the place of the class in [`CLASSES`].
    counts: [u32; CLASSES.len()],
    /// Only where the log has DEBUG lines.
    names: Vec<String>,
}

/// The classes that are counted, as labels.
pub(crate) const CLASSES: [&str; 3] = ["gateway", "ours", "override"];

impl Removed {
    /// Notes that a field of this name was taken out.
    pub(super) fn note(&mut self, name: &str, removal: Removal) {
        let class = match removal {
            Removal::Table(Class::Gateway) => 0,
            Removal::Table(Class::Ours) => 1,
            Removal::Table(Class::Override) => 2,
            Removal::Table(_) | Removal::Listed => return,
        };
        self.counts[class] += 1;
        if tracing::enabled!(Level::DEBUG) {
            self.names.push(name.to_owned());
        }
    }

    /// Tells of it. A name has letters, digits, `-` and `_` only (rule G11).
    pub(super) fn tell(&self, permit: &Permit, metrics: &RouteMetrics) {
        for (class, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            metrics.headers_removed(class, count);
        }
        if !self.names.is_empty() {
            tracing::debug!(
                "http.route" = permit.route().name(),
                "countersign.client.id" = %permit.client_id(),
                "countersign.headers" = self.names.join(" "),
                "header fields that callers may not set are not forwarded"
            );
        }
    }
}
