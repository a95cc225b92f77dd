//! Every reason code is produced by some test of the repository: a code that no test reaches is one of which nobody knows
//! that it is what a caller would read.

use countersign_model::ReasonCode;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Codes that no test produces, each with the reason. It may only shrink.
const NOT_PRODUCED: &[(ReasonCode, &str)] =
    &[(ReasonCode::InternalError, "only a mistake of ours leads to it, and a known one would be corrected")];

/// Words of a test that stand for the code itself and not for a list of all codes.
fn names(code: ReasonCode) -> [String; 3] {
    let text = code.as_str();
    [format!("\"{text}\""), format!("ReasonCode::{code:?}"), format!("R::{code:?}")]
}

#[test]
fn every_reason_code_is_produced_by_some_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let matrix = fs::read_to_string(root.join("tests/decision-matrix.txt")).unwrap();
    let cells: BTreeSet<&str> = matrix.lines().flat_map(|line| line.split_whitespace()).collect();
    let mut tests = String::new();
    for file in rust_files(&root.join("crates")) {
        tests += &test_code(&file);
    }
    assert!(tests.len() > 100_000, "the tests were not found");
    let mut untested = Vec::new();
    let mut tested_after_all = Vec::new();
    for code in ReasonCode::ALL {
        let produced = cells.contains(code.as_str()) || names(*code).iter().any(|name| tests.contains(name));
        let excused = NOT_PRODUCED.iter().any(|(excused, _)| excused == code);
        match (produced, excused) {
            (false, false) => untested.push(code.as_str()),
            (true, true) => tested_after_all.push(code.as_str()),
            _ => {}
        }
    }
    assert!(untested.is_empty(), "no test produces {untested:?}");
    assert!(tested_after_all.is_empty(), "take these off the list: {tested_after_all:?}");
}

/// Where codes are described and rendered, all of them alike: no test there says that one comes up.
const NOT_COUNTED: [&str; 3] = ["tests/it/reason_codes.rs", "model/src/reason", "policy/src/denial"];

/// The part of a file that is tests: all of it below `tests/` and in files named so, else what follows `cfg(test)`.
fn test_code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    if NOT_COUNTED.iter().any(|place| file.to_string_lossy().contains(place)) {
        return String::new();
    }
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let below_tests = file.components().any(|part| part.as_os_str() == "tests");
    if below_tests || name == "tests" || name.ends_with("_tests") {
        return text;
    }
    text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()).unwrap_or_default()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
