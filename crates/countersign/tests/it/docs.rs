//! What the documents say of the code is so: the page of reason codes, links, and the rules that have tests.

use countersign_policy::denial::markdown;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "UPDATE=1 rewrites generated pages")]
fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

#[test]
fn the_page_of_reason_codes_is_made_from_the_table() {
    let page = workspace().join("docs/reason-codes.md");
    if update() {
        std::fs::write(&page, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(written == markdown(), "docs/reason-codes.md is not up to date: run this test with UPDATE=1");
}

/// Markdown files of the repository, without what is built or fetched.
fn pages(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !name.starts_with('.')
                && !["target", "node_modules", "corpus", "artifacts"].contains(&name.as_str())
            {
                found.extend(pages(&path));
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// The targets of `[text](target)` outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        if code {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect();
        links.extend(
            prose
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split_once(')'))
                .map(|(link, _)| link.to_owned()),
        );
    }
    links
}

/// As the forges make anchors of headings.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn every_link_between_our_pages_leads_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages(&workspace()) {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if !target.exists() {
                broken.push(format!("{}: {link}", page.display()));
            } else if !fragment.is_empty() && target.extension().is_some_and(|extension| extension == "md") {
                let target = std::fs::read_to_string(&target).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                if !headings.any(|line| anchor(line.trim_start_matches('#').trim()) == fragment) {
                    broken.push(format!("{}: no heading for {link}", page.display()));
                }
            }
        }
    }
    assert!(checked > 10, "{checked} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Every rule of the rule book has a test that is named after it, or a line in docs/divergences.md.
#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says what it needs")]
fn every_rule_has_a_test_or_a_line_in_the_divergences() {
    let Ok(book) = std::fs::read_to_string(workspace().join("../shared/rules.md")) else {
        return println!(
            "SKIPPED: needs ../shared/rules.md beside the repository (scripts/check-rules has its numbers)"
        );
    };
    let rules: BTreeSet<String> = book
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|id| is_rule(id))
        .map(str::to_owned)
        .collect();
    assert!(rules.len() > 60, "{rules:?}");
    let mut covered = tested(&workspace().join("crates"));
    let divergences = std::fs::read_to_string(workspace().join("docs/divergences.md")).unwrap();
    for row in divergences.lines().filter_map(|line| line.strip_prefix('|')) {
        let cell = row.split('|').next().unwrap_or_default();
        covered.extend(cell.split([',', ' ']).filter(|word| is_rule(word)).map(str::to_owned));
    }
    let bare: Vec<&String> = rules.difference(&covered).collect();
    assert!(bare.is_empty(), "neither a test nor a line in docs/divergences.md: {bare:?}");
}

fn is_rule(id: &str) -> bool {
    let (letter, number) = id.split_at(id.len().min(1));
    "TCKGIPR".contains(letter)
        && !letter.is_empty()
        && !number.is_empty()
        && number.bytes().all(|c| c.is_ascii_digit())
}

/// Rules that tests are named after: `fn rule_g3_…`.
fn tested(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tested(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn rule_").skip(1).filter_map(|rest| rest.split_once('_'));
            found.extend(names.map(|(id, _)| id.to_uppercase()).filter(|id| is_rule(id)));
        }
    }
    found
}
