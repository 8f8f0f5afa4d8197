#!/usr/bin/env bash
# The command line of the MCP Inspector against a running Sidegate demo, in both protocol eras.
#
#   inspector.sh http URL            Streamable HTTP
#   inspector.sh stdio CONFIG.json   the process a desktop client's configuration names: {"mcpServers": {"shop": …}}
#
# SIDEGATE_NODE is a Node 22 and SIDEGATE_NODE_MODULES the folder the Inspector is installed in.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=${SIDEGATE_NODE:?}
inspector=${SIDEGATE_NODE_MODULES:?}/@modelcontextprotocol/inspector/clients/launcher/build/index.js
call_limit=30 # seconds, for one run of the Inspector

kind=${1:-}
target=${2:-}
case $kind in
  http) connect=(--transport http "$target") ;;
  stdio) connect=(--config "$target" --server shop) ;;
  *)
    echo "usage: inspector.sh http URL | stdio CONFIG.json" >&2
    exit 2
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The Inspector keeps a catalogue and secrets in the home folder; this run has its own.
export HOME=$work MCP_INSPECTOR_SECRET_STORE=memory

passed=0
failed=0

# check EXIT-STATUS NAME EXPRESSION INSPECTOR-ARGUMENTS...
# EXPRESSION is JavaScript over `r`, the result.
check() {
  local wanted=$1 name="$kind $era: $2" expression=$3 status=0
  shift 3
  timeout -k 5 "$call_limit" "$node" "$inspector" --cli "${connect[@]}" --protocol-era "$era" --format json "$@" \
    >"$work/out" 2>"$work/err" </dev/null || status=$?
  if [ "$status" -eq "$wanted" ] && "$node" "$here/expect.mjs" "$work/out" "(r => $expression)(r.result)" 2>"$work/why"; then
    passed=$((passed + 1))
    echo "ok    $name"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    [ "$status" -eq "$wanted" ] || echo "      exit status $status instead of $wanted"
    sed 's/^/      /' "$work/why" "$work/err" 2>/dev/null | cut -c1-300 | head -20
  fi
  rm -f "$work/out" "$work/err" "$work/why"
}

tool_is_error=5 # the Inspector's exit status for a result with isError

for era in legacy modern; do
  check 0 'lists tools with portable schemas' \
    '["get_order", "create_note", "open_orders", "search_handbook"].every(n => r.tools.some(t => t.name === n && t.description && t.inputSchema.type === "object"))' \
    --method tools/list --strict
  check 0 'calls a REST tool' \
    'r.structuredContent.id === "ORD-1001" && typeof r.structuredContent.status === "string" && r.structuredContent.lines.length > 0' \
    --method tools/call --tool-name get_order --tool-args-json '{"id": "ORD-1001"}'
  check 0 'calls an SQL tool' \
    'Object.values(r.structuredContent).find(Array.isArray)[0].id.startsWith("ORD-") && r.content[0].text.includes("|")' \
    --method tools/call --tool-name open_orders --tool-args-json '{"customer": 7}'
  check 0 'calls a vector search tool' \
    '/refund/i.test(JSON.stringify(Object.values(r.structuredContent).find(Array.isArray)[0]))' \
    --method tools/call --tool-name search_handbook --tool-args-json '{"question": "how long do refunds take"}'
  check $tool_is_error 'gets a sentence back for a bad argument' \
    'r.isError === true && /\bid\b/.test(r.content[0].text)' \
    --method tools/call --tool-name get_order --tool-args-json '{"id": "nope"}'
  check 0 'lists resources' \
    'r.resources.length === 1 && r.resources[0].uri === "shop://policies/returns"' \
    --method resources/list
  check 0 'lists resource templates' \
    'r.resourceTemplates.length === 1 && r.resourceTemplates[0].uriTemplate === "shop://orders/{id}"' \
    --method resources/templates/list
  check 0 'reads a resource' \
    'r.contents[0].mimeType === "text/markdown" && r.contents[0].text.includes("30 days")' \
    --method resources/read --uri shop://policies/returns
  check 0 'reads a resource template' \
    'JSON.parse(r.contents[0].text).id === "ORD-1001"' \
    --method resources/read --uri shop://orders/ORD-1001
  check 0 'lists prompts' \
    'r.prompts.some(p => p.name === "triage" && p.arguments.some(a => a.name === "order" && a.required))' \
    --method prompts/list
  check 0 'gets a prompt' \
    'r.messages.length === 2 && /Order ORD-1001 is \w+/.test(r.messages[0].content.text)' \
    --method prompts/get --prompt-name triage --prompt-args order=ORD-1001
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
