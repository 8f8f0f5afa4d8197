#!/usr/bin/env bash
# Runs the official MCP clients against `sidegate demo`, over HTTP and over stdio:
#
#   tests/clients/run.sh BINARY
#
# Ends with "N passed, M failed". Starts one demo on a free loopback port and stops that one.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/clients/tools.sh
. "$here/tools.sh"

binary=$(realpath "${1:?usage: tests/clients/run.sh BINARY}")
if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
  echo "not a program: $binary" >&2
  exit 2
fi
start_limit=60   # seconds until the demo answers
stop_limit=10    # seconds from SIGTERM to its end
client_limit=300 # seconds for one client over one transport

passed=0
failed=0
demo=

work=$(mktemp -d)
# Tells the demo to stop; fails when it does not in time.
stop() {
  kill -TERM "$demo" 2>/dev/null
  for ((tick = 0; tick < stop_limit * 10; tick++)); do
    kill -0 "$demo" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$demo"
  return 1
}
finish() {
  [ -z "$demo" ] || stop
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
cd "$work" || exit 1

"$binary" demo --listen 127.0.0.1:0 >demo.out 2>demo.err </dev/null &
demo=$!

url=
for ((tick = 0; tick < start_limit * 10; tick++)); do
  url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+/mcp' demo.out | head -1)
  if [ -n "$url" ] && "$SIDEGATE_NODE" "$here/snippet.mjs" demo.out >config.json; then break; fi
  kill -0 "$demo" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$url" ] || [ ! -s config.json ]; then
  echo "--- the demo printed:"
  cat demo.out demo.err
  give_up "the demo printed no endpoint (http://127.0.0.1:PORT/mcp) or no mcpServers snippet within $start_limit s"
fi

results=()

# client NAME COMMAND...
client() {
  local name=$1 status=0 p=0 f=0 last
  shift
  echo "--- $name"
  timeout -k 10 "$client_limit" "$@" </dev/null 2>&1 | tee client.out
  status=${PIPESTATUS[0]}
  last=$(tail -1 client.out)
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]}
  else
    echo "FAIL  $name: ended without a count, exit status $status"
  fi
  # A client that failed some other way than by a failed check is a failure too.
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  passed=$((passed + p))
  failed=$((failed + f))
  results+=("$(printf '%-36s %4d passed %4d failed' "$name" "$p" "$f")")
}

for transport in http stdio; do
  target=$url
  [ "$transport" = http ] || target=$work/config.json
  client "TypeScript client, $transport" "$SIDEGATE_NODE" "$here/typescript.mjs" "$transport" "$target"
  client "Python client, $transport" "$SIDEGATE_PYTHON" "$here/python_client.py" "$transport" "$target"
  client "Inspector, $transport" "$here/inspector.sh" "$transport" "$target"
done

# The demo has served everybody and stops cleanly when told to.
status=0
if stop; then wait "$demo" || status=$?; else status="none within $stop_limit s"; fi
if [ "$status" = 0 ]; then
  passed=$((passed + 1))
  echo "ok    the demo stops on SIGTERM"
else
  failed=$((failed + 1))
  echo "FAIL  the demo stops on SIGTERM: exit status $status"
  tail -20 demo.err
fi
demo=

echo
printf '%s\n' "${results[@]}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
