#!/usr/bin/env bash
# What cargo runs instead of the compiler for `fuzz/run.sh`: counts what runs in our own crate and in those that read for
# it, and nowhere else. libFuzzer looks at every count after every input, and the whole program has a million.
set -euo pipefail

# As cargo-fuzz asks for them.
counting=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  -Cllvm-args=-simplifycfg-branch-fold-threshold=0
)
arguments=" $* "
case $arguments in
  # Without a target it is part of a build script.
  *" --target "*) ;;
  *) exec "$@" ;;
esac
for name in sidegate sidegate_fuzz decoder headers answer serde serde_core serde_json base64 http; do
  case $arguments in
    *" --crate-name $name "*) exec "$@" "${counting[@]}" ;;
  esac
done
exec "$@"
