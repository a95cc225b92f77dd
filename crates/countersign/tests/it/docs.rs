//! What the documents say of the code is so: the page of reason codes and links. That every rule has a test or a line in
//! docs/divergences.md is the matter of `scripts/check-rules`.

use countersign_policy::denial::markdown;
use std::path::{Path, PathBuf};

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "UPDATE=1 rewrites generated pages")]
pub(crate) fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

#[test]
fn the_page_of_reason_codes_is_made_from_the_table() {
    let page = workspace().join("docs/reason-codes.md");
    if update() {
        std::fs::write(&page, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/reason-codes.md is stale: run UPDATE=1 cargo test -p countersign page_of_reason_codes"
    );
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
