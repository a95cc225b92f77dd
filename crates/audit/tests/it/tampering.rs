//! Whatever is done to the files, `verify` says so.

use crate::{directory, log, segments};
use countersign_audit::{Head, Problem, Report, verify};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One log for all cases: its files by name, and its head.
struct Original {
    files: Vec<(PathBuf, Vec<u8>)>,
    head: Head,
}

fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let directory = directory();
        let (head, _) = log(directory.path(), 24, 3000);
        let name = |path: &PathBuf| PathBuf::from(path.file_name().unwrap());
        let files: Vec<_> =
            segments(directory.path()).iter().map(|path| (name(path), fs::read(path).unwrap())).collect();
        assert!(files.len() >= 3);
        Original { files, head }
    })
}

fn write(directory: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (name, content) in files {
        fs::write(directory.join(name), content).unwrap();
    }
}

fn verified(files: &[(PathBuf, Vec<u8>)]) -> Report {
    let directory = directory();
    write(directory.path(), files);
    verify(directory.path(), Some(original().head)).unwrap()
}

/// All lines with the file that they stand in.
fn lines(files: &[(PathBuf, Vec<u8>)]) -> Vec<(usize, Vec<u8>)> {
    let of_file = |(index, (_, content)): (usize, &(PathBuf, Vec<u8>))| {
        content
            .split_inclusive(|&octet| octet == b'\n')
            .map(move |line| (index, line.to_vec()))
            .collect::<Vec<_>>()
    };
    files.iter().enumerate().flat_map(of_file).collect()
}

/// The files again, out of changed lines.
fn rebuilt(lines: &[(usize, Vec<u8>)]) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = original().files.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
    for (file, line) in lines {
        files[*file].1.extend_from_slice(line);
    }
    files
}

#[test]
fn an_untouched_log_is_intact() {
    let report = verified(&original().files);
    assert!(report.is_intact(), "{:?}", report.findings);
    assert_eq!((report.records, report.events, report.head), (24, 24, original().head));
}

#[test]
fn an_empty_log_is_intact_and_not_what_a_head_was_stored_of() {
    let directory = directory();
    assert!(verify(directory.path(), None).unwrap().is_intact());
    assert!(verify(&directory.path().join("missing"), Some(Head::EMPTY)).unwrap().is_intact());
    let report = verify(directory.path(), Some(original().head)).unwrap();
    assert_eq!(report.findings[0].problem, Problem::TailMissing { stored: 24, found: 0 });
}

#[test]
fn every_missing_segment_is_found() {
    for missing in 0..original().files.len() {
        let mut files = original().files.clone();
        files.remove(missing);
        assert!(!verified(&files).is_intact(), "segment {missing}");
    }
}

#[test]
fn a_cut_at_every_octet_of_the_last_segment_is_found() {
    let mut files = original().files.clone();
    let last = files.len() - 1;
    while !files[last].1.is_empty() {
        files[last].1.pop();
        let report = verified(&files);
        assert!(!report.is_intact(), "{} octets left", files[last].1.len());
    }
}

#[test]
fn a_renamed_segment_is_found() {
    let mut files = original().files.clone();
    files[1].0 = "audit-00000000000000000003-1800000000000.jsonl".into();
    let report = verified(&files);
    assert!(report.findings.iter().any(|f| matches!(f.problem, Problem::SegmentName { named: 3, .. })));
}

/// The chain does not cover the last record, and no head need be stored. What `find` would not find is no record.
#[test]
fn a_last_record_of_the_same_meaning_in_another_spelling_is_found() {
    let original = lines(&original().files);
    let (file, last) = original.last().unwrap();
    let last = std::str::from_utf8(last).unwrap();
    let (seq, rest) = last.strip_prefix('{').unwrap().split_once(',').unwrap();
    let spellings = [
        format!("{{{seq},\"more\":1,{rest}"),
        format!("{{ {seq},{rest}"),
        format!("{{{seq}, {rest}"),
        format!("{{\"more\":1,{seq},{rest}"),
        last.replace("\"ref\":", "\"ref\" :"),
        last.replace("\"ref\":", "\"more\":1,\"ref\":"),
    ];
    for spelling in spellings {
        serde_json::from_str::<serde_json::Value>(&spelling).unwrap();
        let mut lines = original.clone();
        *lines.last_mut().unwrap() = (*file, spelling.clone().into_bytes());
        let directory = directory();
        write(directory.path(), &rebuilt(&lines));
        let report = verify(directory.path(), None).unwrap();
        assert!(report.findings.iter().any(|f| f.problem == Problem::NotARecord), "{spelling}");
    }
}

#[test]
fn a_finding_says_where_and_what() {
    let mut lines = lines(&original().files);
    lines.remove(1);
    let report = verified(&rebuilt(&lines));
    assert_eq!(report.findings.len(), 1, "one change, one finding: {:?}", report.findings);
    let name = original().files[0].0.display().to_string();
    assert_eq!(
        report.findings[0].to_string(),
        format!("{name}:2: records 2 to 2 are missing: here is record 3")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_octet_is_found(file in 0..64_usize, position in 0..100_000_usize, flip in 1..=255_u8) {
        let mut files = original().files.clone();
        let file = file % files.len();
        let position = position % files[file].1.len();
        files[file].1[position] ^= flip;
        prop_assert!(!verified(&files).is_intact(), "file {file} octet {position}");
    }

    #[test]
    fn any_dropped_line_is_found(line in 0..24_usize) {
        let mut lines = lines(&original().files);
        lines.remove(line);
        prop_assert!(!verified(&rebuilt(&lines)).is_intact());
    }

    #[test]
    fn any_repeated_line_is_found(from in 0..24_usize, to in 0..=24_usize) {
        let mut lines = lines(&original().files);
        let mut copy = lines[from].clone();
        copy.0 = lines[to.min(23)].0;
        lines.insert(to, copy);
        // The very last line repeated behind the stored head is an addition like any other: the chain shows it.
        prop_assert!(!verified(&rebuilt(&lines)).is_intact());
    }

    #[test]
    fn any_two_swapped_lines_are_found(one in 0..24_usize, other in 0..24_usize) {
        prop_assume!(one != other);
        let mut lines = lines(&original().files);
        let (first, second) = (lines[one].1.clone(), lines[other].1.clone());
        (lines[one].1, lines[other].1) = (second, first);
        prop_assert!(!verified(&rebuilt(&lines)).is_intact());
    }

    #[test]
    fn any_inserted_text_is_found(file in 0..64_usize, position in 0..100_000_usize, text in "[ -~\n]{1,40}") {
        let mut files = original().files.clone();
        let last = files.len() - 1;
        let file = file % files.len();
        let position = position % files[file].1.len();
        // Behind the last record it may be one that is being written; everywhere else it is a change.
        prop_assume!(file != last || position < files[file].1.len());
        files[file].1.splice(position..position, text.bytes());
        prop_assert!(!verified(&files).is_intact(), "file {file} octet {position}");
    }
}
