# Single commands, each of which can be pasted by hand. `just` is optional: scripts/test is the test command.

# What there is
default:
    @just --list

# The whole test suite, as the continuous integration runs it
ci:
    scripts/test

# The daily loop on one crate: just check pki
check crate:
    cargo check -p countersign-{{crate}} --all-targets

# One crate's tests, by name if you like: just test policy rule_g4
test crate *filter:
    cargo test -p countersign-{{crate}} {{filter}}

# What the lint stage of scripts/test runs
lint:
    cargo clippy --workspace --all-targets -- -D warnings

format:
    cargo fmt --all

# The product with demo partners, on https://localhost:8443
quickstart *arguments:
    cargo run --release -- quickstart {{arguments}}

# Kill the server in the middle of its work, fifty times
kill-test rounds="50":
    scripts/kill-test {{rounds}}

# Every fuzz target for so many seconds
fuzz seconds="60":
    fuzz/run {{seconds}}

# Countersign beside nginx; `just bench --write` puts the table into docs/benchmarks.md
bench *arguments:
    bench/run {{arguments}}

# Licences, advisories, bans; needs cargo-deny, which scripts/test does not
deny:
    cargo deny check

# The API documentation of our own crates
doc:
    cargo doc --workspace --no-deps --document-private-items --open
