#!/usr/bin/env bash
# Runs the official MCP conformance suite against `sidegate serve` on gateway.yaml, once per protocol era:
#
#   tests/conformance/run.sh BINARY
#
# Ends with "N passed, M failed", counting scenarios. Nothing is expected to fail. The suite's full
# reports stay in .cache/logs/.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/clients/tools.sh
. "$here/../clients/tools.sh"

binary=$(realpath "${1:?usage: tests/conformance/run.sh BINARY}")
if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
  echo "not a program: $binary" >&2
  exit 2
fi
start_limit=30  # seconds until the server is ready
stop_limit=30   # seconds from SIGTERM to its end
suite_limit=300 # seconds for the suite in one era

passed=0
failed=0
server=

work=$(mktemp -d)
logs=$tools_cache/logs
mkdir -p "$logs"

# Tells the server to stop; fails when it does not in time.
stop() {
  kill -TERM "$server" 2>/dev/null
  for ((tick = 0; tick < stop_limit * 10; tick++)); do
    kill -0 "$server" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$server"
  return 1
}
finish() {
  [ -z "$server" ] || stop
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

"$binary" serve -c "$here/gateway.yaml" --listen 127.0.0.1:0 >"$work/out" 2>"$logs/conformance-server.log" </dev/null &
server=$!
address=
for ((tick = 0; tick < start_limit * 10; tick++)); do
  address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$work/out" | head -1)
  [ -z "$address" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$address" ]; then
  cat "$work/out" "$logs/conformance-server.log"
  give_up "serve printed no line with its address within $start_limit s"
fi

for revision in 2025-11-25 2026-07-28; do
  log=$logs/conformance-$revision.log
  status=0
  (cd "$work" && timeout -k 10 "$suite_limit" "$SIDEGATE_NODE" \
    "$SIDEGATE_NODE_MODULES/@modelcontextprotocol/conformance/dist/index.js" server \
    --url "http://$address/mcp" --requirements "$revision" --output-dir "$work/$revision") >"$log" 2>&1 </dev/null || status=$?
  "$SIDEGATE_NODE" "$here/summary.mjs" "$revision" "$log" "$status" "$work/$revision" >"$work/summary"
  cat "$work/summary"
  if [[ $(tail -1 "$work/summary") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
  else
    failed=$((failed + 1))
    echo "FAIL  $revision: no summary; the suite ended with exit status $status"
    tail -20 "$log"
  fi
done

if stop; then wait "$server" || give_up "serve ended with exit status $?"; else give_up "serve did not end on SIGTERM"; fi
server=
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
