#!/usr/bin/env bash
# The MCP Inspector's two command lines against rehearsal.yaml, in both protocol eras: `--cli`, which cannot be asked anything but
# its roots, and mcpdo, which keeps a connection and passes questions on.
#
#   inspector_rehearsal.sh http URL            Streamable HTTP
#   inspector_rehearsal.sh stdio CONFIG.json   the process a desktop client's configuration names: {"mcpServers": {NAME: …}}
#
# What neither can do, and the other clients' suites show instead: answer a sampling request; print progress; choose the level of log
# lines since 2026-07-28 (mcpdo always asks for debug); cancel a call other than by going away; print changes of lists (mcpdo refreshes its own in silence).
#
# SIDEGATE_NODE is a Node 22 and SIDEGATE_NODE_MODULES the folder the Inspector is installed in.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=${SIDEGATE_NODE:?}
clients=${SIDEGATE_NODE_MODULES:?}/@modelcontextprotocol/inspector/clients
call_limit=30 # seconds, for one run of the Inspector

kind=${1:-}
target=${2:-}
work=$(mktemp -d)
case $kind in
  http) entry='{ type: "streamable-http", url: process.argv[1] }' ;;
  stdio) entry='Object.values(JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).mcpServers)[0]' ;;
  *)
    echo "usage: inspector_rehearsal.sh http URL | stdio CONFIG.json" >&2
    exit 2
    ;;
esac
"$node" -e "const entry = $entry; const era = (protocolEra) => ({ ...entry, protocolEra });
  console.log(JSON.stringify({ mcpServers: { legacy: era('legacy'), modern: era('modern') } }))" "$target" >"$work/config.json" || exit 2

# The Inspector keeps a catalogue and secrets in the home folder; this run has its own, and a daemon of its own.
export HOME=$work MCP_INSPECTOR_SECRET_STORE=memory
mcpdo=("$node" "$clients/mcpdo/build/mcp-bin.js")
eval "$("${mcpdo[@]}" private)"
listener=
finish() {
  [ -z "$listener" ] || kill "$listener" 2>/dev/null
  "${mcpdo[@]}" daemon stop >/dev/null 2>&1
  rm -rf "$work" "${MCP_INSPECTOR_DAEMON_DIR:?}"
}
trap finish EXIT
trap 'exit 130' INT TERM

passed=0
failed=0
# told NAME FAULT: counts a check; FAULT is empty when there is none.
told() {
  if [ -z "$2" ]; then
    passed=$((passed + 1))
    echo "ok    $kind $era: $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $kind $era: $1"
    printf '%s\n' "$2" | sed 's/^/      /' | cut -c1-400 | head -20
  fi
}
# so FILE EXPRESSION: prints what is wrong if the JavaScript expression over `r`, the JSON in FILE, is not true.
so() { "$node" "$here/expect.mjs" "$1" "$2" 2>&1 || head -c 400 "$1"; }

# Runs of the two command lines; their output is in $work/out and $work/err, their exit status in $status.
cli() {
  status=0
  timeout -k 5 "$call_limit" "$node" "$clients/launcher/build/index.js" --cli --config "$work/config.json" --server "$era" \
    --format json "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}
do_() {
  status=0
  timeout -k 5 "$call_limit" "${mcpdo[@]}" --format json --connection "$era" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}
# The question that the last run ended with.
asked() { sed -nE 's/.*"elicitationId": "([^"]+)".*/\1/p' "$work/out"; }

# refused NAME INSPECTOR-ARGUMENTS...: without the capability a call is a result with isError, or the error -32021.
refused() {
  local name=$1 fault=
  shift
  cli "$@"
  if [ "$era" = legacy ]; then
    [ "$status" -eq 5 ] || fault="exit status $status"
    fault+=$(so "$work/out" 'r.result.isError === true && r.result.content[0].text.includes("this client did not declare `")')
  else
    [ "$status" -eq 1 ] || fault="exit status $status"
    grep '^{"error"' "$work/err" >"$work/out"
    fault+=$(so "$work/out" 'r.error.message.includes("capabilities that the client did not declare")')
  fi
  told "$name" "$fault"
}

questions() {
  do_ tools/call register 'event:="the fair"'
  told 'passes a question on' "$(so "$work/out" 'r.elicitationPending.message === "Who comes to the fair?" && r.elicitationPending.requestedSchema.properties.age.type === "integer"')"
  do_ elicitation/respond "$(asked)" 'name:="Ada"' 'age:=36'
  told 'goes on with the answer' "$(so "$work/out" "r.content[0].text === 'the fair: accept {\"age\": 36, \"name\": \"Ada\"}'")"

  do_ prompts/get brief
  do_ elicitation/respond "$(asked)" 'topic:="whales"'
  told 'asks before it renders a prompt' "$(so "$work/out" 'r.messages[0].content.text === "Write a brief about whales."')"

  do_ roots/set --roots-json '[{"uri": "file:///home/ada", "name": "home"}]'
  do_ tools/call folders
  told 'asks for the roots' "$(so "$work/out" 'r.content[0].text === "home=file:///home/ada;"')"
}

confirmations() {
  local note="$kind $era inspector"
  refused 'does not write for a client that cannot ask' --method tools/call --tool-name add_note --tool-args-json "{\"text\": \"$note\"}"
  do_ tools/call add_note "text:=\"$note\""
  told 'asks before it writes' "$(so "$work/out" "r.elicitationPending.message === 'Write the note \"$note\"?'")"
  do_ elicitation/respond "$(asked)" --decline
  told 'does not write after a no' "$(so "$work/out" 'r.isError === true')"
  do_ tools/call add_note "text:=\"$note\""
  do_ elicitation/respond "$(asked)" '{}'
  told 'writes after a yes' "$(so "$work/out" 'r.structuredContent.count === 1')"
  do_ tools/call count_notes "text:=\"$note\""
  told 'wrote once in all' "$(so "$work/out" 'r.structuredContent.written === 1')"
}

suggestions() {
  do_ prompts/complete --complete-ref-type ref/prompt --complete-ref greet --complete-arg-name tone --complete-arg-value f
  told 'suggests from a list' "$(so "$work/out" 'r.values.join() === "formal,friendly,funny"')"
  do_ prompts/complete --complete-ref-type ref/resource --complete-ref 'note://shelf/{box}/{title}' --complete-arg-name title --complete-arg-value a
  told 'suggests from the database' "$(so "$work/out" 'r.values.join() === "alpha,apple,atlas"')"
}

# listen MCPDO-ARGUMENTS...: a run in the background that prints what it hears to $work/heard.
listen() {
  : >"$work/heard"
  timeout -k 5 "$call_limit" "${mcpdo[@]}" --format json --connection "$era" "$@" >"$work/heard" 2>/dev/null </dev/null &
  listener=$!
}
# heard WORD TENTHS: waits until it was heard.
heard() {
  for ((tick = 0; tick < $2; tick++)); do
    grep -q -- "$1" "$work/heard" && return 0
    sleep 0.1
  done
  return 1
}
leave() {
  kill "$listener" 2>/dev/null
  wait "$listener" 2>/dev/null
  listener=
}

news() {
  listen resources/subscribe note://board
  heard subscribed 100
  do_ tools/call change_desk
  do_ tools/call change_board
  heard updated 50
  told 'tells of a resource that it subscribed to, and of no other' "$(
    found=$(tr -d ' \n' <"$work/heard")
    [ "$found" = '{"type":"subscribed","uri":"note://board"}{"type":"resources/updated","uri":"note://board"}' ] || echo "$found"
  )"
  leave
}

log_lines() {
  local wanted='debug info warning error ' # what mcpdo asks for since 2026-07-28
  if [ "$era" = legacy ]; then
    do_ logging/setLevel warning
    wanted='warning error '
  fi
  listen logging/tail
  # It does not say when it listens.
  for ((try = 0; try < 10; try++)); do
    do_ tools/call speak
    heard jammed 10 && break
  done
  told 'logs at the level that was asked for, and above' "$(
    found=$(sed -nE 's/.*"level": "([a-z]+)".*/\1/p' "$work/heard" | awk '!seen[$0]++' | tr '\n' ' ')
    [ "$found" = "$wanted" ] || echo "heard: $found"
  )"
  leave
}

for era in legacy modern; do
  timeout -k 5 "$call_limit" "${mcpdo[@]}" --format json connect --config "$work/config.json" --server "$era" \
    >"$work/out" 2>/dev/null </dev/null
  told "connects, in the $era era" "$(so "$work/out" "r.protocolEra === '$era'")"
  refused 'does not ask a client that cannot be asked' --method tools/call --tool-name register --tool-args-json '{"event": "x"}'
  questions
  confirmations
  suggestions
  news
  log_lines
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
