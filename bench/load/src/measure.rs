//! What a run is reduced to: counts, latencies, and the CPU time of the server's processes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::connection::{Failure, Negotiated};

/// What one connection's loop saw.
#[derive(Default)]
pub(crate) struct Sample {
    pub(crate) latencies_us: Vec<u32>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) negotiated: Option<Negotiated>,
}

impl Sample {
    pub(crate) fn add(&mut self, outcome: Result<u16, Failure>, took: Duration) {
        match outcome {
            Ok(status) => {
                *self.statuses.entry(status).or_default() += 1;
                self.latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            Err(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
        self.negotiated = self.negotiated.take().or(other.negotiated);
    }
}

/// The one JSON object that a run prints.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Requests that got a whole response
    requests: u64,
    /// Responses by status
    statuses: BTreeMap<u16, u64>,
    /// Requests without a response, by reason
    failures: BTreeMap<Failure, u64>,
    /// Responses of another status than the expected one, and requests without a response
    unexpected: u64,
    seconds: f64,
    requests_per_s: f64,
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
    /// CPU time of the processes named by `--cpu-of`, between the first and the last measured request
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Negotiated>,
}

impl Report {
    pub(crate) fn new(
        mut sample: Sample,
        expected: u16,
        took: Duration,
        server_cpu: Option<Duration>,
    ) -> Self {
        sample.latencies_us.sort_unstable();
        let requests = sample.statuses.values().sum::<u64>();
        let failed = sample.failures.values().sum::<u64>();
        let met = sample.statuses.get(&expected).copied().unwrap_or(0);
        let server_cpu_us = server_cpu.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        Self {
            requests,
            unexpected: requests - met + failed,
            seconds: took.as_secs_f64(),
            requests_per_s: requests as f64 / took.as_secs_f64(),
            p50_us: percentile(&sample.latencies_us, 50),
            p99_us: percentile(&sample.latencies_us, 99),
            max_us: percentile(&sample.latencies_us, 100),
            server_cpu_us,
            server_cpu_us_per_request: server_cpu_us.map(|us| us as f64 / requests.max(1) as f64),
            tls: sample.negotiated,
            statuses: sample.statuses,
            failures: sample.failures,
        }
    }

    pub(crate) fn as_expected(&self) -> bool {
        self.requests > 0 && self.unexpected == 0
    }
}

/// Nearest rank: the smallest value that `percent` of all values do not exceed.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// CPU time that the processes have used so far, user and system, all threads, ended ones too.
pub(crate) fn cpu_time(processes: &[u32]) -> std::io::Result<Option<Duration>> {
    if processes.is_empty() {
        return Ok(None);
    }
    let mut ticks = 0;
    for process in processes {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        ticks += ticks_of(&text)
            .ok_or_else(|| std::io::Error::other(format!("cannot read /proc/{process}/stat")))?;
    }
    // USER_HZ is 100 on every Linux that Rust runs on; the kernel scales to it whatever its own timer does.
    Ok(Some(Duration::from_millis(ticks * 10)))
}

/// Resident memory of the processes together (VmRSS of proc(5)).
pub(crate) fn resident_kib(processes: &[u32]) -> std::io::Result<u64> {
    let mut kib = 0;
    for process in processes {
        let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        kib += resident_of(&text)
            .ok_or_else(|| std::io::Error::other(format!("cannot read /proc/{process}/status")))?;
    }
    Ok(kib)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Fields 14 and 15 of proc(5) `stat`. The second field is a name in parentheses, which may hold spaces.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 99), percentile(&values, 100)),
            (100, 198, 200)
        );
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[], 99), 0);
    }

    #[test]
    fn cpu_ticks_are_found_behind_a_strange_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 2000 0 10 0 123 45 0 0 20 0 1 0 300 1000 20";
        assert_eq!(ticks_of(stat), Some(168));
    }

    #[test]
    fn resident_memory_is_found() {
        assert_eq!(resident_of("VmHWM:\t  20000 kB\nVmRSS:\t   18488 kB\nRssAnon: 1 kB\n"), Some(18_488));
        assert_eq!(resident_of("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn what_was_not_expected_is_counted() {
        let mut sample = Sample::default();
        sample.add(Ok(200), Duration::from_micros(10));
        sample.add(Ok(401), Duration::from_micros(20));
        sample.add(Err(Failure::Closed), Duration::ZERO);
        let report = Report::new(sample, 200, Duration::from_secs(1), None);
        assert_eq!((report.requests, report.unexpected, report.p99_us), (2, 2, 20));
        assert!(!report.as_expected());
    }
}
