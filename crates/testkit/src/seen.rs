//! Which reason codes the tests of a run really saw: in the answer of a server, or in a record of its audit log.
//!
//! A code that no test sees is one of which nobody knows that it is what a caller would read. Tests run in no order and
//! in several processes, so each process notes what it saw in a file of its own under the directory that
//! `COUNTERSIGN_SEEN_CODES` names, and `scripts/check-codes` compares the notes of the whole run with the enum.

use crate::answer::Answer;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes the code of a refusal; anything else that has a `code` is no refusal of ours.
pub(crate) fn in_answer(answer: &Answer) {
    if answer.headers.contains_key("countersign-ref")
        && let Some(code) = answer.code()
    {
        note(&code);
    }
}

/// Notes the exact reason, which the record has and the caller is not always told.
pub(crate) fn in_record(record: &Value) {
    if let Some(reason) = record["reason"].as_str() {
        note(reason);
    }
}

fn note(code: &str) {
    #[expect(clippy::disallowed_methods, reason = "the test script's word to the tests, not the product's")]
    let Some(directory) = std::env::var_os("COUNTERSIGN_SEEN_CODES").map(PathBuf::from) else { return };
    if !SEEN.lock().unwrap().insert(code.to_owned()) {
        return;
    }
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(std::process::id().to_string());
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{code}\n").as_bytes()).unwrap();
}
