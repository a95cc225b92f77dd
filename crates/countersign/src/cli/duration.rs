//! Durations on the command line: written as in the configuration, wherever one is taken.

use crate::config::Period;
use std::time::Duration;

/// `90s`, `30m`, `8h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<Period>() {
        Ok(Period(duration)) => Ok(duration),
        Err(_) => Err("a duration is written as 90s, 30m, 8h or 7d".to_owned()),
    }
}

/// The same, or `0`.
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

/// Its seconds; a part of one counts as one, because none at all often means at once.
pub(crate) fn seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("8h", 28_800), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(duration_or_none(text), duration(text));
        }
        for wrong in
            ["", "0", "3600", "0s", "-1d", "1.5h", "1 d", "d", "1w", "4000d", "99999999999999999999d"]
        {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(duration_or_none("0"), Ok(Duration::ZERO));
        assert!(duration_or_none("3600").is_err());
    }
}
