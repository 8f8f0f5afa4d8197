#!/usr/bin/env bash
# The whole test suite, from a clean clone:
#
#   tests/run.sh           cargo's tests beside real databases, then the release binary against the official clients
#                          and conformance suite, and what its calls cost in instructions
#   tests/run.sh --quick   cargo's tests only, with the databases that can be had without fetching them
#
# Needs Rust. What else is missing is installed as Debian packages, as root or with sudo, or named; npm and Python
# packages and databases go to .cache/, so that a second run needs no network. Ends with the counts and "N passed, M
# failed". Full reports are in .cache/logs/. On a terminal everything is shown as it runs, elsewhere only the outcome.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
# shellcheck source=tests/clients/tools.sh
. "$root/tests/clients/tools.sh"
# shellcheck source=tests/engines/tools.sh
. "$root/tests/engines/tools.sh"
# shellcheck source=tests/embedder/tools.sh
. "$root/tests/embedder/tools.sh"
# shellcheck source=tests/powerdns/tools.sh
. "$root/tests/powerdns/tools.sh"

usage() {
  sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

quick=
for argument in "$@"; do
  case $argument in
    --quick) quick=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "unknown option: $argument" >&2
      usage >&2
      exit 2
      ;;
  esac
done

logs=$root/.cache/logs
mkdir -p "$logs"
total_passed=0
total_failed=0
table=()

# record NAME PASSED FAILED SECONDS
record() {
  total_passed=$((total_passed + $2))
  total_failed=$((total_failed + $3))
  table+=("$(printf '%-16s %7d %7d %6d s' "$1" "$2" "$3" "$4")")
}

# missing NAME WORDS...: something a step needs is not there, which is a failure and said so.
missing() {
  local name=$1
  shift
  echo "FAIL  $name: $*"
  record "$name" 0 1 0
}

# run LOG COMMAND...: runs it with all it prints in the log, and on the terminal if there is one.
run() {
  local log=$1
  shift
  if [ -t 1 ]; then
    "$@" 2>&1 </dev/null | tee "$log"
    return "${PIPESTATUS[0]}"
  fi
  "$@" >"$log" 2>&1 </dev/null
}

# show LOG: what a failed step said, where it has not been shown yet.
show() {
  [ -t 1 ] && return
  if grep -q '^FAIL' "$1"; then
    awk '/^FAIL/ { print; said = 1; next } /^      / { if (said) print; next } { said = 0 }' "$1" | head -120
  else
    tail -80 "$1"
  fi
}

heading() {
  printf '==> %s\n' "$1"
}

finish() {
  echo
  printf '%-16s %7s %7s %8s\n' step passed failed time
  printf '%s\n' "${table[@]}"
  echo
  echo "$total_passed passed, $total_failed failed"
  [ "$total_failed" -eq 0 ]
  exit
}

# Finds the databases or brings them; sets engines_said, for the heading, and engines_without, what has to be left out.
engines_said=''
engines_without=()
engines() {
  local engine title url version
  for engine in postgres mariadb; do
    case $engine in
      postgres) title=PostgreSQL url=TEST_POSTGRES_URL ;;
      mariadb) title=MariaDB url=TEST_MYSQL_URL ;;
    esac
    version=SIDEGATE_${engine^^}_VERSION
    if [ -n "${!url:-}" ]; then
      engines_said+=", $title of $url"
    elif "${engine}_here" || { [ -z "$quick" ] && "${engine}_tools"; }; then
      engines_said+=", $title ${!version}"
    else
      engines_without+=(--without "$engine")
      if [ -n "$quick" ]; then
        engines_said+=", without $title (fetched by a run without --quick)"
      else
        missing "$engine" "it cannot be had, for what is named above"
      fi
    fi
  done
}

# The same for the embedding model; sets embedder, what the tests are run with.
embedder=()
embedding_model() {
  if [ -n "${TEST_EMBEDDER_URL:-}" ]; then
    engines_said+=", the embedder of TEST_EMBEDDER_URL"
  elif embedder_here || { [ -z "$quick" ] && embedder_tools; }; then
    engines_said+=", an embedding model"
    embedder=(tests/embedder/run.sh)
  elif [ -n "$quick" ]; then
    engines_said+=", without an embedding model (fetched by a run without --quick)"
  else
    missing embedder "it cannot be had, for what is named above"
  fi
  if [ -n "${TEST_QDRANT_URL:-}" ]; then
    engines_said+=", Qdrant of TEST_QDRANT_URL"
  else
    engines_said+=", Qdrant as a contract server only"
  fi
}

# The same for a service of somebody else, which a test starts for itself.
powerdns() {
  if powerdns_here || { [ -z "$quick" ] && powerdns_tools; }; then
    engines_said+=", PowerDNS $SIDEGATE_POWERDNS_VERSION"
  elif [ -n "$quick" ]; then
    engines_said+=", without PowerDNS (fetched by a run without --quick)"
  else
    missing powerdns "it cannot be had, for what is named above"
  fi
}

# cargo test prints one line of counts per test program.
cargo_tests() {
  local log=$logs/cargo-test.log status=0 passed failed start=$SECONDS
  local test=("${embedder[@]}" cargo test --locked --no-fail-fast)
  heading "cargo test$engines_said"
  run "$log" tests/engines/run.sh "${engines_without[@]}" "${test[@]}" || status=$?
  if [ "$status" -eq 125 ]; then
    show "$log"
    missing engines "they did not start, so cargo's tests run without them"
    status=0
    run "$log" "${test[@]}" || status=$?
  fi
  read -r passed failed < <(awk '/^test result: / { p += $4; f += $6 } END { print p + 0, f + 0 }' "$log")
  # It did not build, or a test program died before it could count.
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
  [ "$failed" -eq 0 ] || show "$log"
  record "cargo test" "$passed" "$failed" $((SECONDS - start))
}

# script NAME COMMAND...: one of the scripts that end with "N passed, M failed".
script() {
  local name=$1 log=$logs/$1.log status=0 passed=0 failed=0 start=$SECONDS
  shift
  heading "$name"
  run "$log" "$@" || status=$?
  if [[ $(tail -1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}
  fi
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
  [ "$failed" -eq 0 ] || show "$log"
  record "$name" "$passed" "$failed" $((SECONDS - start))
}

release_build() {
  local log=$logs/release-build.log start=$SECONDS
  heading "release build"
  if run "$log" cargo build --release --locked; then
    record "release build" 0 0 $((SECONDS - start))
  else
    show "$log"
    record "release build" 0 1 $((SECONDS - start))
    return 1
  fi
}

if ! command -v cargo >/dev/null; then
  missing cargo "Rust is not installed; see https://rustup.rs"
  finish
fi
# SQLite is compiled here.
if ! command -v cc >/dev/null && ! debian gcc libc6-dev; then
  missing cc "there is no C compiler"
  finish
fi

if [ -z "$quick" ]; then
  heading "clients and suites"
  node_ready=yes python_ready=yes
  node_tools || node_ready=
  python_tools || python_ready=
fi

engines
embedding_model
powerdns
cargo_tests

if [ -z "$quick" ]; then
  if release_build; then
    binary=${CARGO_TARGET_DIR:-target}/release/sidegate
    if [ -n "$node_ready" ] && [ -n "$python_ready" ]; then
      script clients tests/clients/run.sh "$binary"
    else
      missing clients "not run, for what is named above"
    fi
    if [ -n "$node_ready" ]; then
      script conformance tests/conformance/run.sh "$binary"
    else
      missing conformance "not run, for what is named above"
    fi
    if { command -v valgrind >/dev/null || debian valgrind; } && { command -v python3 >/dev/null || debian python3; }; then
      script instructions benches/instructions.py "$binary"
    else
      missing instructions "not run, for what is named above"
    fi
  else
    missing clients "not run, there is no binary"
    missing conformance "not run, there is no binary"
    missing instructions "not run, there is no binary"
  fi
fi

finish
