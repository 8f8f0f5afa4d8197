#!/usr/bin/env bash
# Runs the official MCP clients against `sidegate demo` and against rehearsal.yaml, over HTTP and over stdio:
#
#   tests/clients/run.sh BINARY
#
# Ends with "N passed, M failed". Starts its servers on free loopback ports and stops those.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/clients/tools.sh
. "$here/tools.sh"

binary=$(realpath "${1:?usage: tests/clients/run.sh BINARY}")
if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
  echo "not a program: $binary" >&2
  exit 2
fi
start_limit=60   # seconds until a server answers
stop_limit=10    # seconds from SIGTERM to its end
client_limit=300 # seconds for one client over one transport

passed=0
failed=0
declare -A server=() url=() lane=()

work=$(mktemp -d)
# stop NAME: tells a server to stop; fails when it does not in time.
stop() {
  local id=${server[$1]}
  kill -TERM "$id" 2>/dev/null
  for ((tick = 0; tick < stop_limit * 10; tick++)); do
    kill -0 "$id" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$id"
  return 1
}
finish() {
  local name
  for name in "${!lane[@]}"; do kill "${lane[$name]}" 2>/dev/null; done
  for name in "${!server[@]}"; do stop "$name"; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

give_up() {
  echo "FAIL  $1"
  failed=$((failed + 1))
  echo "$passed passed, $failed failed"
  exit 1
}

node_tools || give_up "the npm packages are not there"
python_tools || give_up "the Python packages are not there"

# A desktop client starts `sidegate` from PATH, in a folder of its own, and talks to loopback without a proxy.
PATH=$(dirname "$binary"):$PATH
export PATH NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
# The many short runs of the same programs share what Node and Python compiled.
export NODE_COMPILE_CACHE=$work/node PYTHONPYCACHEPREFIX=$work/python
cd "$work" || exit 1

# start NAME ARGUMENTS...: a server and its address.
start() {
  local name=$1
  shift
  : >"$name.out"
  "$binary" "$@" --listen 127.0.0.1:0 >>"$name.out" 2>"$name.err" </dev/null &
  server[$name]=$!
  for ((tick = 0; tick < start_limit * 10; tick++)); do
    url[$name]=$(grep -oE 'http://127\.0\.0\.1:[0-9]+/mcp' "$name.out" | head -1)
    [ -z "${url[$name]}" ] || return 0
    kill -0 "${server[$name]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "--- the server printed:"
  cat "$name.out" "$name.err"
  give_up "$name printed no endpoint (http://127.0.0.1:PORT/mcp) within $start_limit s"
}

start demo demo
for ((tick = 0; tick < 20; tick++)); do
  if "$SIDEGATE_NODE" "$here/snippet.mjs" demo.out >demo.json; then break; fi
  sleep 0.1
done
[ -s demo.json ] || give_up "the demo printed no mcpServers snippet"

# News reach every client of a server, so each client rehearses with its own; a process of its own for stdio, and databases.
for client in typescript python inspector; do
  NOTES_DB=$work/$client-http.db start "$client" serve -c "$here/rehearsal.yaml"
  "$SIDEGATE_NODE" -e 'const [command, config, NOTES_DB] = process.argv.slice(1);
    console.log(JSON.stringify({ mcpServers: { rehearsal: { command, args: ["stdio", "-c", config], env: { NOTES_DB } } } }))' \
    "$binary" "$here/rehearsal.yaml" "$work/$client-stdio.db" >"$client.json"
done

# run NAME COMMAND...: one suite; its report, and a line with its counts in NAME.counts.
run() {
  local name=$1 status=0 p=0 f=0 last
  shift
  echo "--- $name"
  timeout -k 10 "$client_limit" "$@" </dev/null >"$name.report" 2>&1 || status=$?
  cat "$name.report"
  last=$(tail -1 "$name.report")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]}
  else
    echo "FAIL  $name: ended without a count, exit status $status"
  fi
  # A client that failed some other way than by a failed check is a failure too.
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  echo "$p $f" >"$name.counts"
}

# target SERVER TRANSPORT: what a suite is told.
target() { if [ "$2" = http ]; then echo "${url[$1]}"; else echo "$work/$1.json"; fi; }

# Suites side by side; those of one lane, which share a server, one after the other.
typescript_lane() {
  for transport in http stdio; do
    run "TypeScript client, demo, $transport" "$SIDEGATE_NODE" "$here/typescript.mjs" "$transport" "$(target demo $transport)"
    run "TypeScript client, rehearsal, $transport" "$SIDEGATE_NODE" "$here/typescript_rehearsal.mjs" "$transport" "$(target typescript $transport)"
  done
}
python_lane() {
  for transport in http stdio; do
    run "Python client, demo, $transport" "$SIDEGATE_PYTHON" "$here/python_client.py" "$transport" "$(target demo $transport)"
    run "Python client, rehearsal, $transport" "$SIDEGATE_PYTHON" "$here/python_rehearsal.py" "$transport" "$(target python $transport)"
  done
  # With servers of its own.
  run "Python client, traces" "$SIDEGATE_PYTHON" "$here/python_traces.py" "$binary"
}
inspector_lane() {
  run "Inspector, demo, $1" "$here/inspector.sh" "$1" "$(target demo "$1")"
  run "Inspector, rehearsal, $1" "$here/inspector_rehearsal.sh" "$1" "$(target inspector "$1")"
}

typescript_lane >typescript.lane 2>&1 &
lane[typescript]=$!
python_lane >python.lane 2>&1 &
lane[python]=$!
inspector_lane http >inspector-http.lane 2>&1 &
lane[inspector-http]=$!
inspector_lane stdio >inspector-stdio.lane 2>&1 &
lane[inspector-stdio]=$!
for name in typescript python inspector-http inspector-stdio; do
  wait "${lane[$name]}"
  unset "lane[$name]"
  cat "$name.lane"
done

results=()
# count NAME: adds what a suite has counted.
count() {
  local p=0 f=1
  [ ! -s "$1.counts" ] || read -r p f <"$1.counts"
  passed=$((passed + p))
  failed=$((failed + f))
  results+=("$(printf '%-40s %4d passed %4d failed' "$1" "$p" "$f")")
}
for client in 'TypeScript client' 'Python client' Inspector; do
  for suite in demo rehearsal; do
    for transport in http stdio; do
      count "$client, $suite, $transport"
    done
  done
done
count "Python client, traces"

# The servers have served everybody and stop cleanly when told to.
for name in demo typescript python inspector; do
  status=0
  if stop "$name"; then wait "${server[$name]}" || status=$?; else status="none within $stop_limit s"; fi
  unset "server[$name]"
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    echo "ok    the server of $name stops on SIGTERM"
  else
    failed=$((failed + 1))
    echo "FAIL  the server of $name stops on SIGTERM: exit status $status"
    tail -20 "$name.err"
  fi
done

echo
printf '%s\n' "${results[@]}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
