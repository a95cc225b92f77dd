//! Times and numbers as people say them.

use countersign_model::Timestamp;

/// A state; `disabled (not stored)` where a restart would forget it.
pub(crate) fn standing(state: &str, not_stored: bool) -> String {
    if not_stored { format!("{state} (not stored)") } else { state.to_owned() }
}

/// `4 s ago`, `in 29 d`.
pub(crate) fn relative(moment: Timestamp, now: Timestamp) -> String {
    if moment <= now { format!("{} ago", span(now, moment)) } else { format!("in {}", span(moment, now)) }
}

/// `in 29 d (2026-12-22)`.
pub(crate) fn relative_and_date(moment: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", relative(moment, now), moment.date())
}

/// The time between two moments in its largest unit.
fn span(later: Timestamp, earlier: Timestamp) -> String {
    let seconds = later.since(earlier).as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `18 204`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 call`, `2 calls`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", grouped(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let now = Timestamp::from_unix_s(1_000_000);
        for (seconds, expected) in
            [(-4, "4 s ago"), (-180, "3 m ago"), (0, "0 s ago"), (7200, "in 2 h"), (2_505_601, "in 29 d")]
        {
            assert_eq!(relative(now.plus_s(seconds), now), expected);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1 000"), (18_204, "18 204"), (1_000_000, "1 000 000")]
        {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!((counted(1, "call"), counted(2, "call")), ("1 call".to_owned(), "2 calls".to_owned()));
    }
}
