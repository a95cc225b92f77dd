//! The one time type: milliseconds since 1970 in UTC, and the port that tells the present.

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::Duration;

/// How far what is new is dated back, in seconds: a credential's or token key's first moment, and a certificate's. The clocks
/// of nodes and peers differ, and a clock may be set back a little: what was handed out must not be refused for that. Five
/// minutes are five times what clocks may be wrong by (docs/threat-model.md); nothing is valid earlier than it exists, since
/// nobody has it.
pub const BACKDATE_S: i64 = 300;

/// A moment in UTC with millisecond resolution. Displayed and serialised as RFC 3339 (`2026-12-22T10:00:00Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    unix_ms: i64,
}

impl Timestamp {
    /// The moment `unix_ms` milliseconds after the epoch.
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self { unix_ms }
    }

    /// The moment `unix_s` seconds after the epoch; saturates at the ends of the range.
    pub const fn from_unix_s(unix_s: i64) -> Self {
        Self { unix_ms: unix_s.saturating_mul(1000) }
    }

    /// Milliseconds since the epoch.
    pub const fn unix_ms(self) -> i64 {
        self.unix_ms
    }

    /// Whole seconds since the epoch, rounded down: the unit of JWT's NumericDate as we write it and of X.509.
    pub const fn unix_s(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }

    /// This moment and `seconds` more (fewer when negative); saturates.
    pub const fn plus_s(self, seconds: i64) -> Self {
        Self { unix_ms: self.unix_ms.saturating_add(seconds.saturating_mul(1000)) }
    }

    /// This moment and `days` of 24 hours more.
    pub const fn plus_days(self, days: i64) -> Self {
        self.plus_s(days.saturating_mul(86_400))
    }

    /// How long from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.unix_ms.saturating_sub(earlier.unix_ms)).unwrap_or(0))
    }

    /// The same moment without its milliseconds: X.509 knows whole seconds only.
    pub const fn whole_second(self) -> Self {
        Self::from_unix_s(self.unix_s())
    }

    /// Reads RFC 3339; `None` when the text is not a moment.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Self::from_unix_ms)
    }

    /// The calendar date, for people: `2026-12-22`.
    pub fn date(self) -> String {
        match OffsetDateTime::from_unix_timestamp(self.unix_s()) {
            Ok(moment) => moment.date().to_string(),
            Err(_) => format!("{}s", self.unix_s()),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_ms) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}ms", self.unix_ms), // beyond the year 9999
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| de::Error::custom("not an RFC 3339 moment"))
    }
}

/// Tells the present. Handed in, so that a test owns the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_round_trips_through_rfc3339() {
        for unix_ms in [0, 1_799_999_999_999, -1, 253_402_300_799_000] {
            let moment = Timestamp::from_unix_ms(unix_ms);
            assert_eq!(Timestamp::parse_rfc3339(&moment.to_string()), Some(moment), "{moment}");
        }
    }

    #[test]
    fn whole_seconds_round_down_before_the_epoch_too() {
        assert_eq!(Timestamp::from_unix_ms(-1).unix_s(), -1);
        assert_eq!(Timestamp::from_unix_ms(1999).whole_second(), Timestamp::from_unix_s(1));
    }
}
