//! `[oauth]`: the authorization server.

use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{Given, section};
use crate::config::sections::listeners::{Listener, Serve};
use crate::config::sections::routes::RateLimitSection;
use crate::config::values::{Origin, Period};
use countersign_policy::rate_limit::Limit;
use std::time::Duration;

section! {
    /// The authorization server.
    OauthSection = "[oauth]" {
        /// How long an access token lives, from 30s to 1h. Short, because who verifies it elsewhere does not hear of a revocation.
        token_lifetime: Period = Default("\"5m\"");
        /// How many tokens each client may have. A token serves until it expires, so this is for thousands of instances of one
        /// client, and for all of them starting at once.
        rate_limit: RateLimitSection = Default("{ requests = 100, per = \"1s\", burst = 2000 }");
        /// Where the token endpoint is reached over mutual TLS, when that is not at the issuer (RFC 8705 section 5). Default: at the issuer.
        mtls_url: Origin = Optional;
    }
}

/// The authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth {
    /// How long an access token lives.
    pub token_lifetime: Duration,
    /// Where the token endpoint is reached over mutual TLS, when elsewhere.
    pub mtls_url: Option<String>,
    /// How many tokens each client may have.
    pub rate_limit: Limit,
}

const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);

impl OauthSection {
    /// `listeners` are those of the file, where none of them is wrong.
    pub(crate) fn check(&self, listeners: Option<&[Listener]>, out: &mut Mistakes) -> Option<Oauth> {
        let lifetime = self.token_lifetime.get()?;
        if !(SHORTEST..=LONGEST).contains(&lifetime.value.0) {
            let reason = "a token lives from 30s to 1h: retired keys are kept for as long as the longest";
            out.add(Mistake::new(lifetime.entry.clone(), "the token lifetime is out of range", reason));
        }
        let mtls_url = match &self.mtls_url {
            Given::Is(url) if url.value.scheme() != "https" => {
                out.add(Mistake::new(url.entry.clone(), "`mtls_url` is not https", "mutual TLS needs TLS"));
                return None;
            }
            Given::Is(url) => {
                let asks = |listener: &Listener| listener.asks_for_certificate(Serve::Oauth2);
                if listeners.is_some_and(|listeners| !listeners.iter().any(asks)) {
                    let reason = "no listener that serves `oauth2` asks for a certificate";
                    let help = "set `client_certificate` on the listener that this URL leads to";
                    out.add(
                        Mistake::new(url.entry.clone(), "`mtls_url` leads to no mutual TLS", reason)
                            .help(help),
                    );
                    return None;
                }
                Some(url.value.as_str().to_owned())
            }
            Given::Absent => None,
            Given::Broken => return None,
        };
        let rate_limit = self.rate_limit.get()?;
        let rate_limit = rate_limit.value.check(rate_limit, out)?;
        Some(Oauth { token_lifetime: lifetime.value.0, mtls_url, rate_limit })
    }
}
