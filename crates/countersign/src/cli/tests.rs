//! The command line as a whole: its definitions hold, and its help reads as it should.

use super::*;

#[test]
fn verify_cli() {
    Cli::command().debug_assert();
}

/// The help of every command, one after the other, at a fixed width.
#[test]
fn the_help_of_every_command() {
    fn help(command: &clap::Command, out: &mut String) {
        out.push_str(&format!(
            "$ {} --help\n",
            command.get_display_name().unwrap_or("countersign").replace('-', " ")
        ));
        out.push_str(&command.clone().term_width(100).render_long_help().to_string());
        out.push('\n');
        // `help` has the commands once more.
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            help(command, out);
        }
    }
    let mut command = Cli::command();
    command.build();
    let mut out = String::new();
    help(&command, &mut out);
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(out) });
}

#[test]
fn help_of_a_command_is_the_same_however_it_is_asked_for() {
    let asked = |line: &str| {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{line}");
        error.render().to_string()
    };
    for (one, other) in [
        ("countersign help", "countersign --help"),
        ("countersign help serve", "countersign serve --help"),
        ("countersign help cert sign", "countersign cert sign --help"),
        ("countersign cert help sign", "countersign cert sign --help"),
        ("countersign cert help", "countersign cert --help"),
    ] {
        assert_eq!(asked(one), asked(other), "{one}");
    }
}

#[test]
fn wrong_usage_leads_to_the_help_of_the_command_that_was_meant() {
    for (line, help) in [
        ("client edit shop", "countersign client edit --help"),
        ("client shwo shop", "countersign client --help"),
        ("--json cert list --expiring 3", "countersign cert list --help"),
        ("nothing", "countersign --help"),
        ("", "countersign --help"),
    ] {
        assert_eq!(help_of(line.split_whitespace().map(OsString::from)), help, "{line}");
    }
}

/// What the texts of refusals tell people to type: a command that does not exist is a false promise.
#[test]
fn every_command_in_a_text_of_a_reason_is_understood() {
    let mut seen = 0;
    for code in countersign_model::ReasonCode::ALL {
        let reason = code.reason();
        for text in [reason.detail, reason.action, reason.operator] {
            for command in text.split('`').skip(1).step_by(2) {
                let words: Vec<&str> = command.split_whitespace().collect();
                let names_one = |word: &&str| Cli::command().find_subcommand(word).is_some();
                let words = match words.as_slice() {
                    ["countersign", rest @ ..] if !rest.is_empty() => rest,
                    [first, _, ..] if names_one(first) => words.as_slice(),
                    _ => continue,
                };
                let filled = words.iter().map(|word| match *word {
                    "CLIENT" => "shop-42",
                    "SERIAL" => "3f9a1b2c",
                    // Shown for the switch alone: the request stands in its place.
                    "--allow-shared-key" if words.len() == 3 => "shop.csr",
                    "REASON" => "superseded",
                    other => other,
                });
                let mut arguments: Vec<&str> = std::iter::once("countersign").chain(filled).collect();
                if words.starts_with(&["cert", "sign"]) && !words.contains(&"--client") {
                    arguments.extend(["--client", "shop-42"]);
                }
                let parsed = Cli::try_parse_from(&arguments);
                let is_help = |error: &clap::Error| !error.use_stderr();
                assert!(parsed.as_ref().map_or_else(is_help, |_| true), "{code}: `{command}` {parsed:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn what_the_documentation_shows_is_understood() {
    for line in [
        "client add shop-42 --environment production --scope data:read --auth tls_client_auth --name Shop --contact api@shop42.example",
        "client list --json",
        "--json client show shop-42 --dir /srv/countersign",
        "client disable shop-42 --yes",
        "client rotate-secret shop-42 --overlap 0",
        "client rotate-secret shop-42 --overlap 8h",
        "client enable shop-42",
        "client edit shop-42 --name Shop --scope data:read --scope data:write --all-audiences --no-contacts --yes",
        "cert list --expiring",
        "cert list --expiring 14d --client shop-42",
        "cert sign shop-42.csr --client shop-42 --allow-shared-key",
        "cert request shop-42",
        "cert sign shop-42.csr --client shop-42",
        "cert list --client shop-42 --state valid",
        "cert show 3f9a",
        "cert revoke 3f9a --reason keyCompromise --yes",
        "cert revoke --client shop-42 --reason superseded",
        "audit list --action token_refused --client shop-42 --limit 10",
        "audit show 01JZ8Q0M3T4V6X8Z0A2C4E6G8J",
        "audit verify --admin http://127.0.0.1:8444 --credential-file admin.token",
        "token-key rotate --now",
        "quickstart",
        "quickstart --dir d --port 9443 --json",
        "quickstart --clean",
        "init --dir d --port 9443",
        "operator reset-token --dir d --yes",
        "serve --config countersign.toml",
        "config check --config countersign.toml",
        "explain token_certificate_mismatch",
        "explain",
        "completions bash",
        "man",
    ] {
        let words = std::iter::once("countersign").chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_ok(), "{line}");
    }
}

#[test]
fn what_is_no_command_is_refused() {
    for line in [
        "",
        "client add shop-42 --environment production",
        "client add Shop --environment production --scope a",
        "client add shop-42 --environment staging --scope a",
        "cert revoke 3f9a",
        "cert revoke --reason superseded",
        "cert revoke 3f9a --client shop-42 --reason superseded",
        "cert list --state good",
        "quickstart --port 0",
        "quickstart --port 65533",
        "audit list --limit 0",
        "audit verify --admin http://127.0.0.1:8444",
    ] {
        let words = std::iter::once("countersign").chain(line.split(' ').filter(|word| !word.is_empty()));
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

/// One thumbprint in 64 begins with the dash of base64url, and some of those with two.
#[test]
fn a_thumbprint_that_begins_with_a_dash_is_no_option() {
    let dashes =
        ["-08eit4toB2Q-64c2BqISQb_II6SIVx6180QH9Xo1V8", "--8eit4toB2Q-64c2BqISQb_II6SIVx6180QH9Xo1V8"];
    for thumbprint in dashes {
        for arguments in [
            &["countersign", "cert", "show", thumbprint, "--json"][..],
            &["countersign", "cert", "revoke", thumbprint, "--reason", "superseded", "--yes"],
            &["countersign", "cert", "revoke", "--reason", "superseded", thumbprint],
        ] {
            assert!(Cli::try_parse_from(arguments).is_ok(), "{arguments:?}");
        }
    }
    for option in ["-x", "--colour", "--resaon=superseded"] {
        let arguments = ["countersign", "cert", "revoke", option, "--reason", "superseded"];
        let error = Cli::try_parse_from(arguments).expect_err("an option that is none");
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}
