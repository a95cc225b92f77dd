//! Mistakes, one by one, as people see them. Each case changes one thing in a file that is right.

use super::reader::{Rule, Section, Value};
use super::sections::Document;
use super::*;

const GOOD: &str = include_str!("good.toml");

/// A snapshot without the expression that made it: the cases name themselves.
macro_rules! show {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

struct NoEnvironment;
impl ProcessEnvironment for NoEnvironment {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn check_text(source: &str) -> Result<Configuration, Vec<Mistake>> {
    check(source, &Surroundings::new("/", &NoEnvironment))
}

/// The mistakes of the good file after `from` was replaced by `to` in it.
fn mistakes(changes: &[(&str, &str)]) -> String {
    let mut source = GOOD.to_owned();
    for (from, to) in changes {
        assert!(source.contains(from), "{from:?} is not in the file");
        source = source.replacen(from, to, 1);
    }
    match check_text(&source) {
        Ok(_) => "no mistake".to_owned(),
        Err(mistakes) => render(Path::new("countersign.toml"), &source, &mistakes, Colour::Never),
    }
}

/// Runs a table of (name, from, to) and shows every answer.
fn table(cases: &[(&str, &str, &str)]) -> String {
    let mut out = String::new();
    for (name, from, to) in cases {
        out.push_str(&format!("## {name}\n{}\n", mistakes(&[(from, to)]).trim_end()));
    }
    out
}

#[test]
fn a_good_file_is_accepted() {
    let configuration = check_text(GOOD).unwrap();
    assert_eq!(configuration.issuer, "https://localhost:8443");
    assert_eq!(configuration.pki_url(), "http://127.0.0.1:8445");
    assert_eq!(configuration.storage.database, Path::new("/countersign.db"));
    assert_eq!(configuration.listeners[0].answered_hosts(), ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(configuration.routes.len(), 2);
    assert!(configuration.routes[0].rate_limit().is_some());
}

#[test]
fn rule_g20_a_size_that_may_be_none_takes_zero_in_every_spelling() {
    for zero in ["0", "\"0\"", "\"0B\"", "\"0MiB\""] {
        let keys = format!("[storage]\ndisk_floor = {zero}\ndisk_reserve = {zero}");
        let storage = check_text(&GOOD.replacen("[storage]", &keys, 1)).unwrap().storage;
        assert_eq!((storage.disk_floor, storage.disk_reserve), (0, 0), "{zero}");
    }
    for other in ["1", "\"\"", "\"MiB\"", "\"0x\"", "\"-0\"", "00.0"] {
        let keys = format!("[storage]\ndisk_floor = {other}");
        check_text(&GOOD.replacen("[storage]", &keys, 1)).unwrap_err();
    }
}

#[test]
fn rule_t13_a_mapped_ipv4_network_is_the_ipv4_network() {
    for (written, meant) in [
        ("::ffff:127.0.0.9", "127.0.0.9/32"),
        ("::ffff:7f00:9", "127.0.0.9/32"),
        ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:db8::1", "2001:db8::1/128"),
    ] {
        let source = format!("{GOOD}\n[limits]\nbalancers = [\"{written}\"]\n");
        let balancers = check_text(&source).unwrap().limits.balancers;
        assert_eq!(balancers.iter().map(ToString::to_string).collect::<Vec<_>>(), [meant], "{written}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let shown = mistakes(&[
        ("[storage]\nurl = \"sqlite:countersign.db\"", "[storage]\nurl = 7"),
        ("listen = \"127.0.0.1:8444\"", "listen = \"0.0.0.0:8444\""),
        ("clients = [", "clinets = ["),
        ("upstream = \"core-banking\"", "upstream = \"core-bankign\""),
        ("scopes = [\"data:read\"]\nclin", "scopes = [\"data:raed\"]\nclin"),
        ("token = \"bearer\"\n", ""),
    ]);
    assert_eq!(shown.matches("error[config]").count(), 6, "{shown}");
    show!(shown);
}

#[test]
fn rule_c11_a_production_route_with_internal_is_refused() {
    show!(mistakes(&[("rate_limit = {", "internal = true\nrate_limit = {")]));
}

#[test]
fn rule_t1_nothing_but_public_documents_and_the_local_admin_api_goes_without_tls() {
    show!(table(&[
        (
            "routes without TLS",
            "certificate = { ca = [\"localhost\", \"127.0.0.1\", \"::1\"] }\nclient_certificate = \"optional\"\n",
            ""
        ),
        ("oauth2 beside pki", "serve = [\"pki\"]", "serve = [\"pki\", \"oauth2\"]"),
        ("admin for all", "listen = \"127.0.0.1:8444\"", "listen = \"192.0.2.1:8444\""),
        (
            "client certificates without TLS",
            "serve = [\"pki\"]",
            "client_certificate = \"optional\"\nserve = [\"pki\"]"
        ),
    ]));
}

#[test]
fn weak_pairs_of_certificate_and_token_are_refused() {
    for (certificate, token, valid) in [
        ("required", "bound", true),
        ("required", "bearer", false),
        ("optional", "bound", true),
        ("optional", "bearer", true),
        ("off", "bound", false),
        ("off", "bearer", true),
    ] {
        for (from, environment) in [
            ("client_certificate = \"required\"\ntoken = \"bound\"", "production"),
            ("client_certificate = \"optional\"\ntoken = \"bearer\"", "sandbox"),
        ] {
            let to = format!("client_certificate = \"{certificate}\"\ntoken = \"{token}\"");
            let source = GOOD.replace(from, &to);
            assert_eq!(check_text(&source).is_ok(), valid, "{environment}: {certificate} with {token}");
        }
    }
    show!(table(&[
        ("required with bearer", "token = \"bound\"", "token = \"bearer\""),
        ("off with bound", "client_certificate = \"required\"", "client_certificate = \"off\""),
    ]));
}

#[test]
fn mistakes_in_routes() {
    show!(table(&[
        ("reserved path", "path = \"/data/\"", "path = \"/oauth2/data/\""),
        ("reserved path without slash", "path = \"/data/\"", "path = \"/problems\""),
        ("same path", "path = \"/test/data/\"", "path = \"/data/\""),
        ("same name", "name = \"test-data\"", "name = \"data\""),
        ("unknown API", "api = \"bank\"", "api = \"bnak\""),
        ("no scope", "scopes = [\"data:read\"]", "scopes = []"),
        ("no client", "clients = [\"acme-pay\", \"other-bank\"]", "clients = []"),
        ("bad client", "clients = [\"acme-pay\", \"other-bank\"]", "clients = [\"Acme\", \"other-bank\"]"),
        ("nobody asks for certificates", "client_certificate = \"optional\"\nserve", "serve"),
        ("bad environment", "environment = \"production\"", "environment = \"prodution\""),
        ("bad methods", "token = \"bound\"", "methods = [\"GET\", \"trace\"]\ntoken = \"bound\""),
        ("half a limit", "requests = 100, per = \"1s\"", "requests = 0, pre = \"1s\""),
        ("path with a query", "path = \"/data/\"", "path = \"/data?x\""),
    ]));
}

#[test]
fn mistakes_in_the_other_sections() {
    show!(table(&[
        ("plain issuer", "issuer = \"https://", "issuer = \"http://"),
        ("issuer with a slash", "localhost:8443\"\n\n[storage]", "localhost:8443/\"\n\n[storage]"),
        ("no issuer", "issuer = \"https://localhost:8443\"\n", ""),
        ("a secret instead of a reference", "\"file:master.key\"", "\"hunter2-hunter2\""),
        ("a master key in no directory", "\"file:master.key\"", "\"file:nowhere/master.key\""),
        ("a master key in an unset variable", "\"file:master.key\"", "\"env:MASTER\""),
        ("a master key outside systemd", "\"file:master.key\"", "\"cred:master\""),
        ("same address", "\"127.0.0.1:8445\"", "\"127.0.0.1:8444\""),
        (
            "no pki",
            "[[listeners]]\nname = \"public-ca-documents\"\naddress = \"127.0.0.1:8445\"\nserve = [\"pki\"]\n",
            ""
        ),
        ("pki on any address", "\"127.0.0.1:8445\"", "\"0.0.0.0:8445\""),
        (
            "files that are not there",
            "{ ca = [\"localhost\", \"127.0.0.1\", \"::1\"] }",
            "{ chain = \"file:tls.crt\", key = \"file:tls.key\" }"
        ),
        (
            "half a certificate",
            "{ ca = [\"localhost\", \"127.0.0.1\", \"::1\"] }",
            "{ chain = \"file:tls.crt\" }"
        ),
        ("upstream over TLS", "\"http://127.0.0.1:8446\"", "\"https://127.0.0.1:8446\""),
        ("upstream with a path", "\"http://127.0.0.1:8446\"", "\"http://127.0.0.1:8446/api\""),
        ("a scope that is none", "\"pay:write\" =", "\"pay write\" ="),
        ("other database", "\"sqlite:countersign.db\"", "\"postgres://localhost/x\""),
        (
            "a database with a password",
            "\"sqlite:countersign.db\"",
            "\"postgres://countersign:hunter2@localhost/x\""
        ),
        ("a limit of less than the schema", "[storage]", "[storage]\nmax_size = \"4000B\""),
        ("unknown section", "[storage]", "[stroage]"),
        (
            "mtls_url without mutual TLS",
            "serve = [\"routes\", \"oauth2\"]",
            "serve = [\"routes\"]\n[[listeners]]\nname = \"tokens\"\naddress = \"127.0.0.1:8447\"\n\
             certificate = { ca = [\"localhost\"] }\nserve = [\"oauth2\"]\n\
             [oauth]\nmtls_url = \"https://localhost:8447\""
        ),
        ("section as a value", "[admin]\nlisten = \"127.0.0.1:8444\"", "[admin.listen]\nport = 8444"),
        ("key twice", "[keys]", "url = \"sqlite:other.db\"\n[keys]"),
        ("no TOML", "[keys]", "[keys"),
        (
            "limits that are too large",
            "[admin]",
            "[limits]\nheader_size = \"61KiB\"\nheader_count = 257\nchunk_overhead_size = \"16KiB\"\n[admin]"
        ),
        (
            "a header that is taken",
            "[admin]",
            "[internal]\nclient_secret_header = \"authorization\"\n[admin]"
        ),
    ]));
}

#[test]
fn two_apis_share_neither_audience_nor_scope() {
    let other = "[[apis]]\nname = \"other\"\naudience = \"https://localhost:8443/\"\nscopes = { \"data:read\" = \"x\" }\n\n[[apis]]";
    show!(mistakes(&[("[[apis]]", other)]));
}

#[test]
fn rule_k6_a_route_is_not_named_like_the_audience_of_another_api() {
    let other = "[[apis]]\nname = \"other\"\naudience = \"https://localhost:8443/data\"\nscopes = { \"x\" = \"x\" }\n\n[[apis]]";
    show!(mistakes(&[("[[apis]]", other)]));
    // The identifier of its own route may be the audience of an API: it means the same.
    let own = ("audience = \"https://localhost:8443/\"", "audience = \"https://localhost:8443/data\"");
    assert_eq!(mistakes(&[own]), "no mistake");
}

#[test]
fn every_default_is_read_by_its_own_key() {
    fn defaults<S: Section>() {
        for key in S::KEYS {
            if let Rule::Default(text) = key.rule {
                assert!(toml::de::DeValue::parse(text).is_ok(), "{} {}", S::HEADER, key.name);
            }
        }
    }
    defaults::<Document>();
    defaults::<sections::limits::LimitsSection>();
    // A default that its key would refuse leaves the section without a value, and the file without a configuration.
    check_text(GOOD).unwrap();
    assert!(
        NonZeroDefault::read(&toml::de::DeValue::parse("0").unwrap(), &mut Mistakes::default()).is_none()
    );
}
type NonZeroDefault = std::num::NonZeroU32;

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load(Path::new("/nowhere/countersign.toml"), &NoEnvironment).unwrap_err();
    assert_eq!(
        error.render(Colour::Never),
        "error[config]: /nowhere/countersign.toml cannot be read: it does not exist\n"
    );
}

#[test]
fn what_a_reload_cannot_change_is_named() {
    let changed = |from: &str, to: &str| {
        reload::needs_restart(&check_text(GOOD).unwrap(), &check_text(&GOOD.replacen(from, to, 1)).unwrap())
    };
    assert_eq!(changed("\"data:read\"]", "\"pay:write\"]"), [""; 0]);
    assert_eq!(changed("burst = 200", "burst = 300"), [""; 0]);
    assert_eq!(changed("http://127.0.0.1:8446", "http://127.0.0.1:8447"), [""; 0]);
    assert_eq!(changed("issuer = \"https://localhost:8443\"", "issuer = \"https://localhost\""), ["issuer"]);
    assert_eq!(changed("sqlite:countersign.db", "sqlite:other.db"), ["[storage]"]);
    assert_eq!(changed("file:master.key", "file:other.key"), ["[keys]"]);
    assert_eq!(changed("127.0.0.1:8444", "127.0.0.1:8454"), ["[admin]"]);
    assert_eq!(changed("127.0.0.1:8443\"", "127.0.0.1:8453\""), ["[[listeners]] `public` address"]);
    assert_eq!(
        changed("name = \"public\"", "name = \"front\""),
        ["[[listeners]] `public` is gone", "[[listeners]] `front` is new"]
    );
    assert_eq!(changed("\"::1\"] }", "\"::1\", \"api.example\"] }"), [""; 0]);
    assert_eq!(changed("\"::1\"] }", "\"::1\"] }\nhosts = [\"localhost\"]"), [""; 0]);
    assert_eq!(
        changed("client_certificate = \"optional\"", "client_certificate = \"required\""),
        ["[[listeners]] `public` client_certificate"]
    );
    assert_eq!(
        changed("serve = [\"routes\", \"oauth2\"]", "serve = [\"routes\"]"),
        ["[[listeners]] `public` serve"]
    );
    assert_eq!(changed("127.0.0.1:8445", "127.0.0.1:8455"), ["[[listeners]] `public-ca-documents` address"]);
    assert_eq!(
        changed("serve = [\"pki\"]", "serve = [\"pki\"]\nurl = \"http://ca.example\""),
        ["[[listeners]] url of `pki` (only a new installation has another one)"]
    );
    assert_eq!(changed("[[upstreams]]", "[audit]\nsegment_size = \"1MiB\"\n[[upstreams]]"), ["[audit]"]);
    assert_eq!(changed("[[upstreams]]", "[log]\nformat = \"json\"\n[[upstreams]]"), ["[log] format"]);
    assert_eq!(changed("[[upstreams]]", "[log]\nlevel = \"debug\"\n[[upstreams]]"), [""; 0]);
}

#[test]
fn the_configuration_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let expected = reference::markdown();
    #[expect(clippy::disallowed_methods, reason = "the switch that rewrites the page")]
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/configuration.md is stale: run UPDATE=1 cargo test -p countersign configuration_reference"
    );
}
