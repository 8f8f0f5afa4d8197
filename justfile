# Each job of CI is one recipe here. `.ci/run --tools` fetches the programs they use into .cache/ci/bin.

export PATH := justfile_directory() / ".cache/ci/bin" + ":" + env("PATH")

target := env("CARGO_TARGET_DIR", "target")

# How the program that is shipped is linked.
linker := "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=" + quote(justfile_directory() / ".cargo/ordered-link")

# List the recipes.
default:
    @just --list --unsorted

# Everything CI runs.
ci: check
    ./tests/run.sh

# Everything CI runs but the tests; what is quick comes first.
check: fmt shell dockerfile deploy deny clippy schema doc

# The formatting of the Rust code.
fmt:
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check

# Lints of the shell scripts.
shell:
    shellcheck --external-sources .cargo/ordered-link .ci/run tests/*.sh tests/*/*.sh fuzz/*.sh

# Lints of the Dockerfile.
dockerfile:
    hadolint Dockerfile

# The manifests, the unit and the compose file of deploy/.
deploy:
    tests/deploy.sh

# Licences, sources and versions of the dependencies; known vulnerabilities where the advisory database can be had.
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    if timeout 60 cargo-deny --locked fetch db >/dev/null 2>&1; then
      cargo-deny --locked check
    else
      echo "The advisory database cannot be reached: known vulnerabilities are NOT checked in this run."
      cargo-deny --locked check licenses bans sources
    fi

# Lints of the Rust code.
clippy:
    cargo clippy --locked --all-targets -- -D warnings

# The committed JSON Schema, which the program prints, is the one that follows from its types; `--update` writes it.
schema update="":
    {{ if update == "--update" { "UPDATE_SCHEMA=1" } else { "" } }} cargo test --quiet --locked --lib config::schema

# The Rust documentation builds without a warning.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Cargo's tests.
test:
    cargo test --locked

# The release binary.
build:
    cargo build --release --locked

# The binary that is shipped.
dist:
    {{ linker }} cargo build --profile dist --locked

# The official clients against the release binary.
clients: build
    tests/clients/run.sh {{ target }}/release/sidegate

# The official conformance suite against the release binary.
conformance: build
    tests/conformance/run.sh {{ target }}/release/sidegate

# Each fuzz target for a while, from the committed inputs.
fuzz seconds="60":
    for target in decoder headers answer; do fuzz/run.sh "$target" {{ seconds }} || exit; done

# Whether the time that a wrong key takes says how near it is to a right one.
timing:
    cargo bench --locked --bench key_timing

# How the goals of docs/performance.md stand, into benches/results/; with names of rows only those, and nothing is written.
bench *rows:
    #!/usr/bin/env bash
    set -euo pipefail
    export {{ linker }}
    cargo bench --profile dist --locked --bench ratios --no-run
    bench=(cargo bench --profile dist --locked --bench ratios -- --write benches/results)
    if [ -n "{{ rows }}" ]; then
      bench=(cargo bench --profile dist --locked --bench ratios --)
      for row in {{ rows }}; do bench+=(--only "$row"); done
    fi
    status=0
    tests/engines/run.sh --without mariadb "${bench[@]}" || status=$?
    # No PostgreSQL can be had: the rows that need one are left out, and named.
    if [ "$status" -eq 125 ]; then exec "${bench[@]}"; fi
    exit "$status"

# What a call costs in instructions, beside the figures that are written down; `--update` writes them.
instructions *options: build
    benches/instructions.py {{ target }}/release/sidegate {{ options }}
