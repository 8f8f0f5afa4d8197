#!/usr/bin/env bash
# Builds one fuzz target on stable Rust with gcc alone and runs it:
#
#   fuzz/run.sh TARGET [SECONDS]                            TARGET: decoder, headers, answer; SECONDS: 60 if absent
#   fuzz/run.sh TARGET SECONDS [libFuzzer options] FILE     one input again; with -minimize_crash=1, made smaller
#
# Starts from the committed inputs in fuzz/seeds/TARGET. What it finds on the way goes to fuzz/corpus/TARGET, and an
# input that breaks something to fuzz/artifacts/TARGET; FILE is relative to fuzz/, as it is printed then. Ends with
# libFuzzer's counts and with its exit code.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  sed -n '2,9s/^# \{0,1\}//p' run.sh >&2
  exit 2
}

target=${1:-}
if [ -z "$target" ] || [ ! -e "fuzz_targets/$target.rs" ]; then usage; fi
seconds=${2:-60}
[[ $seconds =~ ^[0-9]+$ ]] || usage
shift $(($# < 2 ? $# : 2))

host=$(rustc -vV | sed -n 's/^host: //p')

# With RUSTC_BOOTSTRAP the stable compiler takes what cargo-fuzz asks a nightly one for. Flags are for the target only, so
# that build scripts run unchanged; rustc.sh adds those that count what runs.
env -u CARGO_TARGET_DIR RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address RUSTC_WRAPPER="$PWD/rustc.sh" \
  cargo build --quiet --release --target "$host" --bin "$target"

mkdir -p "corpus/$target" "artifacts/$target"
options=(
  -max_total_time="$seconds"
  -max_len=4096
  -rss_limit_mb=2048
  -timeout=10
  -dict=words.dict
  -artifact_prefix="artifacts/$target/"
  -print_final_stats=1
)
inputs=("corpus/$target" "seeds/$target")
for argument in "$@"; do
  [[ $argument == -* ]] || inputs=()
done
exec nice -n 10 "target/$host/release/$target" "${options[@]}" "$@" "${inputs[@]}"
