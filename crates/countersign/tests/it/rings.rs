//! The rings (design, section 3): a crate imports inner rings only, and the innermost ones know no runtime, no sockets and
//! no SQL.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What each crate may import of the workspace.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // R0, R1
    ("model", &[]),
    ("pki", &["model"]),
    ("token", &["model", "pki"]),
    ("policy", &["model", "pki", "token"]),
    // R2
    ("storage", &["model", "pki", "token", "policy"]),
    ("keys", &["model", "pki", "token", "policy"]),
    ("audit", &["model"]),
    // R3
    ("storage-sql", &["model", "pki", "token", "policy", "storage", "keys", "audit"]),
    // R4: the gateway mints nothing, so it has no keys and knows neither oauth nor ca.
    ("oauth", &["model", "pki", "token", "policy", "storage", "keys", "audit"]),
    ("ca", &["model", "pki", "token", "policy", "storage", "keys", "audit"]),
    ("gateway", &["model", "pki", "token", "policy", "storage", "audit"]),
    // R5
    ("api", &["model", "pki", "token", "policy", "storage", "keys", "audit", "oauth", "ca", "gateway"]),
];

/// Crates that nothing but the binary and the tests may import.
const ADAPTERS: &[&str] = &["storage-sql", "testkit", "countersign"];

/// Invariant 1: R0 and R1 have none of these, not even by way of another crate.
const NOT_IN_THE_CORE: &[&str] = &[
    "tokio",
    "async-std",
    "hyper",
    "rustls",
    "tokio-rustls",
    "sqlx",
    "socket2",
    "mio",
    "getrandom",
    "rand",
    "reqwest",
];

/// Invariant 3 and others: who alone may use what.
const ONLY: &[(&str, &[&str])] = &[
    ("sqlx", &["storage-sql"]),
    ("axum", &["api", "countersign"]),
    ("clap", &["countersign", "bench"]),
    ("toml", &["countersign"]),
    ("utoipa", &["api"]),
];

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

struct Workspace {
    packages: BTreeMap<String, Package>,
}

impl Workspace {
    fn read() -> Self {
        let mut command = MetadataCommand::new();
        // Our own manifests are enough, and others may not be on this machine: cargo fetches what its target needs.
        command.manifest_path(MANIFEST).no_deps();
        command.other_options(["--offline".to_owned(), "--locked".to_owned()]);
        let packages = command.exec().unwrap().packages;
        Self { packages: packages.into_iter().map(|package| (package.name.to_string(), package)).collect() }
    }

    /// The crates of the workspace by the names of their directories.
    fn members(&self) -> impl Iterator<Item = (&str, &Package)> {
        self.packages
            .iter()
            .filter(|(_, package)| package.source.is_none())
            .map(|(name, package)| (short(name), package))
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix("countersign-").unwrap_or(name)
}

fn dependencies(package: &Package, kind: DependencyKind) -> impl Iterator<Item = &str> {
    package.dependencies.iter().filter(move |dependency| dependency.kind == kind).map(|d| d.name.as_str())
}

#[test]
fn every_edge_between_our_crates_points_inwards() {
    let workspace = Workspace::read();
    let ours: BTreeSet<&str> = workspace.members().map(|(name, _)| name).collect();
    let mut forbidden = Vec::new();
    for (name, package) in workspace.members() {
        if ["countersign", "testkit"].contains(&name) {
            continue; // R6 and dev import everything.
        }
        let may = MAY_IMPORT.iter().find(|(of, _)| *of == name).map(|(_, may)| *may);
        for imported in
            dependencies(package, DependencyKind::Normal).map(short).filter(|name| ours.contains(name))
        {
            // A crate beside the rings, such as the load generator, imports none of them.
            if !may.is_some_and(|may| may.contains(&imported)) {
                forbidden.push(format!("{name} -> {imported}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "design, section 3 forbids: {forbidden:?}");
    for (name, _) in MAY_IMPORT {
        assert!(ours.contains(name), "{name} is no crate any more");
    }
}

#[test]
fn adapters_are_imported_by_the_binary_and_by_tests_only() {
    let workspace = Workspace::read();
    for (name, package) in workspace.members().filter(|(name, _)| !["countersign", "testkit"].contains(name))
    {
        for adapter in dependencies(package, DependencyKind::Normal).map(short) {
            assert!(!ADAPTERS.contains(&adapter), "{name} -> {adapter}");
        }
    }
    let (_, binary) = workspace.members().find(|(name, _)| *name == "countersign").unwrap();
    assert!(!dependencies(binary, DependencyKind::Normal).any(|name| short(name) == "testkit"));
}

#[test]
fn the_core_knows_no_runtime_no_sockets_no_randomness_and_no_sql() {
    for name in ["model", "pki", "token", "policy"] {
        let everything = closure(name);
        assert!(everything.contains("serde"), "{name}: {everything:?}");
        for library in NOT_IN_THE_CORE {
            assert!(!everything.contains(*library), "{name} -> … -> {library}");
        }
    }
}

/// Everything that a crate is built with, other crates' dependencies included.
fn closure(name: &str) -> BTreeSet<String> {
    let package = format!("countersign-{name}");
    let tree = ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--manifest-path"];
    let ran =
        Command::new(env!("CARGO")).args(tree).args([MANIFEST, "--package", &package]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = String::from_utf8(ran.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn some_libraries_have_one_home() {
    let workspace = Workspace::read();
    for (library, homes) in ONLY {
        for (name, package) in workspace.members() {
            let uses = dependencies(package, DependencyKind::Normal).any(|used| used == *library);
            assert!(!uses || homes.contains(&name), "{name} -> {library}");
        }
    }
}

/// The modules of the binary, from the innermost outwards: src/lib.rs tells what each holds.
const MODULES: [&str; 11] = [
    "words",
    "failure",
    "audit_words",
    "config",
    "system",
    "logging",
    "process",
    "wiring",
    "setup",
    "quickstart",
    "cli",
];

#[test]
fn the_modules_of_the_binary_import_from_inner_ones_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let place = |module: &str| MODULES.iter().position(|known| *known == module);
    let mut directories = vec![source.clone()];
    let mut edges = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let within = path.strip_prefix(&source).unwrap().with_extension("");
            let module = within.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
            if path.extension().is_none_or(|extension| extension != "rs")
                || module == "lib"
                || module == "main"
            {
                continue;
            }
            let own = place(&module).unwrap_or_else(|| panic!("src/lib.rs has a new module `{module}`"));
            let text = std::fs::read_to_string(&path).unwrap();
            for imported in text.split("crate::").skip(1) {
                assert!(
                    !imported.starts_with('{'),
                    "{}: each module needs a path of its own",
                    path.display()
                );
                let end = imported.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(0);
                let Some(other) = place(&imported[..end]) else { continue };
                assert!(other <= own, "{}: `{module}` imports from `{}`", path.display(), MODULES[other]);
                edges += usize::from(other < own);
            }
        }
    }
    assert!(edges > 50, "{edges}");
}
