//! Profiles: what a certificate of each kind looks like and how long it lives (rules P2, P3, P9).

use countersign_model::Timestamp;
use countersign_model::certificate::Profile;
use der::oid::ObjectIdentifier;
use der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};

/// How far `notBefore` lies in the past: peers' clocks run late. Rule P3 allows an hour.
pub use countersign_model::time::BACKDATE_S;
/// Rule P3: `notBefore` is not more than this in the past.
pub const BACKDATE_MAX_S: i64 = 3600;

/// Rule P9: how many days a certificate of this profile lives by default, which is also the most.
pub const fn lifetime_days(profile: Profile) -> i64 {
    match profile {
        Profile::RootCa => 5_479,    // 15 years
        Profile::IssuingCa => 1_096, // 3 years
        Profile::Client => 30,
        Profile::Server => 45,
    }
}

/// Whether certificates of this profile sign others.
pub const fn is_ca(profile: Profile) -> bool {
    matches!(profile, Profile::RootCa | Profile::IssuingCa)
}

/// The one purpose of a leaf (rule P3); CAs have none, so that they contradict no leaf (rule P2).
pub(crate) const fn extended_key_usage(profile: Profile) -> Option<ObjectIdentifier> {
    match profile {
        Profile::RootCa | Profile::IssuingCa => None,
        Profile::Client => Some(ID_KP_CLIENT_AUTH),
        Profile::Server => Some(ID_KP_SERVER_AUTH),
    }
}

/// The path length of a CA (rule P2): the root signs issuing CAs, an issuing CA signs leaves only.
pub(crate) const fn path_length(profile: Profile) -> Option<u8> {
    match profile {
        Profile::RootCa => Some(1),
        Profile::IssuingCa => Some(0),
        Profile::Client | Profile::Server => None,
    }
}

/// When a certificate is valid: both ends belong to it (RFC 5280 section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: Timestamp,
    /// Last second.
    pub not_after: Timestamp,
}

/// The validity of a certificate that is issued `now`: the profile's lifetime, cut at the issuer's end (rule P9).
///
/// `None` when the issuer has no time left to give. The root has no issuer.
pub fn validity(profile: Profile, now: Timestamp, issuer_not_after: Option<Timestamp>) -> Option<Validity> {
    let now = now.whole_second();
    let wished = now.plus_days(lifetime_days(profile));
    let not_after = issuer_not_after.map_or(wished, |end| wished.min(end.whole_second()));
    (not_after > now).then_some(Validity { not_before: now.plus_s(-BACKDATE_S), not_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_p9_a_leaf_never_outlives_its_issuer() {
        let now = Timestamp::from_unix_s(1_800_000_000);
        let full = validity(Profile::Client, now, Some(now.plus_days(1000))).unwrap();
        assert_eq!(full.not_after, now.plus_days(30));
        let cut = validity(Profile::Client, now, Some(now.plus_days(3))).unwrap();
        assert_eq!(cut.not_after, now.plus_days(3));
        assert_eq!(validity(Profile::Client, now, Some(now)), None);
    }

    #[test]
    fn rule_p3_not_before_is_at_most_an_hour_back() {
        let now = Timestamp::from_unix_ms(1_800_000_000_999);
        let validity = validity(Profile::Server, now, None).unwrap();
        assert!(now.since(validity.not_before).as_secs() <= 3600);
        assert_eq!(validity.not_before.unix_ms() % 1000, 0);
    }
}
