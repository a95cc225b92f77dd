//! Every statement on both engines, and none that only one would take (design, decision 13).

use crate::dialect::Connection;
use crate::{audit, certificates, changes, clients, crls, keys, migrate, operators};
use countersign_model::Timestamp;
use countersign_model::certificate::Profile;
use countersign_storage::stores::CertificateFilter;
use sqlx::{Connection as _, Executor, Row};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The statements of each file, and its text.
const FILES: [(&[&str], &str); 8] = [
    (audit::STATEMENTS, include_str!("audit.rs")),
    (certificates::STATEMENTS, include_str!("certificates.rs")),
    (changes::STATEMENTS, include_str!("changes.rs")),
    (clients::STATEMENTS, include_str!("clients.rs")),
    (crls::STATEMENTS, include_str!("crls.rs")),
    (keys::STATEMENTS, include_str!("keys.rs")),
    (migrate::STATEMENTS, include_str!("migrate.rs")),
    (operators::STATEMENTS, include_str!("operators.rs")),
];

fn statements() -> impl Iterator<Item = &'static str> {
    FILES.iter().flat_map(|(statements, _)| statements.iter().copied())
}

async fn migrated() -> Connection {
    let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
    migrate::migrate(&mut connection, Timestamp::default()).await.unwrap();
    connection
}

#[test]
fn every_statement_is_in_the_list_of_its_file() {
    for (statements, source) in FILES {
        // A constant text with a space in it is a statement, and so is one that a macro makes.
        let constants = source.split("\nconst ").skip(1).filter(|rest| {
            let (declaration, value) = rest.split_once('=').unwrap();
            declaration.contains(": &str") && value.split_once(';').unwrap().0.trim().contains([' ', '!'])
        });
        assert_eq!(constants.count(), statements.len(), "{statements:?}");
    }
}

#[test]
fn no_statement_uses_what_only_one_engine_has() {
    let foreign = [
        "?",
        "*",
        "json_each",
        "= any",
        "skip locked",
        "insert or",
        "replace into",
        "ifnull",
        "rowid",
        "pragma",
        "strftime",
        "datetime",
        "::",
        "ilike",
        "glob",
        "autoincrement",
        "serial4",
        "blob",
        "integer",
        "unixepoch",
    ];
    for statement in statements().chain(migrate::ALL_MIGRATIONS.iter().copied()) {
        let text = statement.to_lowercase();
        for word in foreign {
            assert!(!text.contains(word), "{word} in {statement}");
        }
    }
}

#[tokio::test]
async fn every_statement_is_prepared_by_sqlite() {
    let mut connection = migrated().await;
    for statement in statements() {
        let sql = sqlx::AssertSqlSafe(statement);
        connection
            .prepare(sqlx::SqlSafeStr::into_sql_str(sql))
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// A look-up finds its row, and a page its beginning, without reading the table.
#[tokio::test]
async fn every_read_of_the_ledger_walks_on_an_index() {
    let mut connection = migrated().await;
    for statement in certificates::STATEMENTS.iter().filter(|text| !text.starts_with("INSERT")) {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let of_ledger =
            |step: &&String| step.starts_with("SEARCH certificates") || step.starts_with("SCAN certificates");
        let mut reads = plan.iter().filter(of_ledger).peekable();
        assert!(reads.peek().is_some(), "{statement}: {plan:?}");
        assert!(reads.all(|step| step.contains(" USING INDEX ")), "{statement}: {plan:?}");
        // A list of all clients that may was made for each certificate: 15 ms when they are 100,000.
        assert!(
            !plan.iter().any(|step| step.contains("LIST SUBQUERY") || step.starts_with("SCAN clients")),
            "{statement}: {plan:?}"
        );
    }
}

/// Every combination of filters that a listing can have.
fn filters() -> Vec<CertificateFilter> {
    let mut filters = vec![CertificateFilter::default()];
    let mut vary = |change: &dyn Fn(&CertificateFilter) -> Vec<CertificateFilter>| {
        let varied: Vec<_> = filters.iter().flat_map(change).collect();
        filters.extend(varied);
    };
    vary(&|it| vec![CertificateFilter { client: Some("acme-pay".parse().unwrap()), ..it.clone() }]);
    vary(&|it| {
        let states = ["pending", "issued", "revoked", "abandoned"];
        states.map(|state| CertificateFilter { state: Some(state.to_owned()), ..it.clone() }).into()
    });
    vary(&|it| {
        let profiles = [Profile::RootCa, Profile::IssuingCa, Profile::Server, Profile::Client];
        profiles.map(|profile| CertificateFilter { profile: Some(profile), ..it.clone() }).into()
    });
    vary(&|it| vec![CertificateFilter { serial_prefix: Some("3f9a0011".to_owned()), ..it.clone() }]);
    let now = Timestamp::from_unix_s(1_800_000_000);
    vary(&|it| vec![CertificateFilter { valid_until: Some(now), ..it.clone() }]);
    vary(&|it| vec![CertificateFilter { expired_before: Some(now), ..it.clone() }]);
    vary(&|it| vec![CertificateFilter { before: Some((now, "3f9a".parse().unwrap())), ..it.clone() }]);
    filters
}

/// The index that leads past the fewest rows.
fn narrowest(filter: &CertificateFilter) -> &'static str {
    let ours = matches!(filter.profile, Some(Profile::RootCa | Profile::IssuingCa | Profile::Server));
    match (filter.serial_prefix.is_some(), filter.client.is_some(), filter.state.as_deref()) {
        (true, _, _) => "sqlite_autoindex_certificates_1", // the primary key
        (false, true, _) => "certificates_client",
        (false, false, Some("pending")) => "certificates_pending_newest",
        (false, false, Some("revoked" | "abandoned")) => "certificates_ended_newest",
        (false, false, _) if ours => "certificates_own",
        (false, false, _) => "certificates_newest",
    }
}

/// What is few among many is found without reading past the many, and is not sorted: a page begins in the index.
#[tokio::test]
async fn every_listing_walks_on_the_index_that_narrows_it_most() {
    let mut connection = migrated().await;
    let filters = filters();
    assert_eq!(filters.len(), 2 * 5 * 5 * 2 * 2 * 2 * 2);
    for filter in filters {
        let statement = certificates::listing(&filter);
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let index = format!("SEARCH certificates USING INDEX {} (", narrowest(&filter));
        assert!(plan[0].starts_with(&index), "{filter:?}: {plan:?}");
        // The few that begin alike are sorted.
        let sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert_eq!(sorted, filter.serial_prefix.is_some(), "{filter:?}: {plan:?}");
    }
}

/// What a listing of everything looks at in each row is in its index: among a million valid certificates the few that have
/// expired are found without reading one of the others.
#[tokio::test]
async fn what_is_passed_over_is_not_read() {
    let mut connection = migrated().await;
    let asked = "SELECT created_at, serial FROM certificates WHERE (created_at, serial) < ($1, $2) \
                 AND profile = $3 AND not_after < $4 ORDER BY created_at DESC, serial DESC";
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {asked}"));
    let rows = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    assert!(plan[0].contains("USING COVERING INDEX certificates_newest"), "{plan:?}");
}

#[tokio::test]
async fn what_expires_next_is_found_on_its_index() {
    for (statement, index, sorted) in [
        ("ended_at IS NULL", "certificates_soonest ((not_after", false),
        ("client = $5 AND ended_at IS NULL", "certificates_client (client=?", true),
    ] {
        let plan = plan_of(&format!("WHERE {statement}")).await;
        assert!(plan[0].starts_with("SEARCH") && plan[0].contains(index), "{plan:?}");
        assert_eq!(plan.iter().any(|step| step.contains("TEMP B-TREE")), sorted, "{plan:?}");
    }
}

/// Before each certificate that is issued, whatever the number of renewals with one key.
#[tokio::test]
async fn whose_a_key_is_is_found_beside_the_rows_of_the_client_itself() {
    let plan = plan_of("WHERE key_hash = $1 AND client < $2").await;
    for place in ["client<?", "client>?", "client=?"] {
        let found = |step: &&String| step.contains(&format!("certificates_key (key_hash=? AND {place})"));
        assert_eq!(plan.iter().filter(found).count(), 1, "{place}: {plan:?}");
    }
    assert!(!plan.iter().any(|step| step.contains("SCAN")), "{plan:?}");
}

/// The plan of the statement of the ledger with this text.
async fn plan_of(text: &str) -> Vec<String> {
    let mut connection = migrated().await;
    let statement = certificates::STATEMENTS.iter().find(|statement| statement.contains(text)).unwrap();
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// The other listings: clients in the order of their names, page by page.
#[tokio::test]
async fn a_page_of_clients_walks_on_their_names() {
    let mut connection = migrated().await;
    let statement = clients::STATEMENTS.iter().find(|text| text.contains("id > $1")).unwrap();
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{plan:?}");
    assert!(plan.iter().any(|step| step.contains("credentials_client")), "{plan:?}");
}

/// In PostgreSQL's single-user mode: no server, no port.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says what it needs")]
fn every_statement_is_prepared_by_postgresql() {
    let Some(programs) = postgresql() else {
        eprintln!(
            "skipped: needs PostgreSQL's initdb and postgres under /usr/lib/postgresql (Debian: postgresql)"
        );
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let user = if is_root() { Some("postgres") } else { None };
    if let Some(user) = user {
        let done = Command::new("chown").arg(user).arg(directory.path()).status().unwrap();
        assert!(done.success());
    }
    let data = directory.path().join("data");
    let initialised =
        run_as(user, &programs.join("initdb"), &["-N", "--locale=C", "-E", "UTF8", "-D"], &data, "");
    assert!(initialised.status.success(), "{initialised:?}");

    let mut script = String::new();
    for command in
        migrate::ALL_MIGRATIONS.iter().copied().chain(statements().filter(|s| s.starts_with("CREATE")))
    {
        script += &format!("{command};\n\n");
    }
    let prepared: Vec<_> = statements().filter(|statement| !statement.starts_with("CREATE")).collect();
    for (n, statement) in prepared.iter().enumerate() {
        script += &format!("PREPARE s{n} AS {statement};\n\n");
    }
    script += "SELECT 'prepared: ' || count(*) AS answer FROM pg_prepared_statements;\n\n";
    let output = run_as(user, &programs.join("postgres"), &["--single", "-j", "-D"], &data, &script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("ERROR:"), "{errors}");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains(&format!("prepared: {}\"", prepared.len())), "{answer}");
}

fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.flatten().map(|version| version.path().join("bin"));
    programs.filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists()).max()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn run_as(user: Option<&str>, program: &Path, arguments: &[&str], data: &Path, input: &str) -> Output {
    let mut command = match user {
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments).arg(data);
    if program.ends_with("postgres") {
        command.arg("postgres");
    }
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
