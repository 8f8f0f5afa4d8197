#!/usr/bin/env python3
"""Writes a configuration with many tools, for measuring what a large file costs: many.py N KIND [CHANGED]

KIND is one of
  rest     a path and a query parameter
  sql      one row of SQLite by its key
  select   rest, and every tool has the same jq program
  selects  rest, and every tool has a jq program of its own
  pattern  rest, and a parameter with a pattern of its own
  mixed    all of them by turns
CHANGED is the number of a tool whose description says something else, for measuring a reload.
"""

import sys

KINDS = ["rest", "sql", "select", "selects", "pattern"]


def tool(number, kind, changed):
    word = "now" if changed else "by its number"
    lines = [
        f"  get_thing_{number}:",
        f"    description: Look up one thing of shelf {number} {word}, with what belongs to it.",
        "    params:",
    ]
    if kind == "pattern":
        lines.append(f'      id: {{ type: string, pattern: "^T{number}-[0-9]+$", description: Its number on shelf {number}. }}')
    else:
        lines.append(f"      id: {{ type: integer, minimum: 1, description: Its number on shelf {number}. }}")
    if kind == "sql":
        lines.append("    sql:")
        lines.append("      source: db")
        lines.append(f'      query: "SELECT id, name, {number} AS shelf FROM things WHERE id = :id"')
        return lines
    lines.append("      expand: { type: string, enum: [parts, notes], optional: true, description: What to include. }")
    lines.append(f"    rest: {{ source: api, get: \"/shelves/{number}/things/{{id}}\", query: {{ expand: \"{{expand}}\" }} }}")
    if kind == "select":
        lines.append('    output: { select: "{id, name, parts: [.parts[] | {sku, qty}]}" }')
    if kind == "selects":
        lines.append(f'    output: {{ select: "{{id, name, shelf: {number}, parts: [.parts[] | select(.qty > {number}) | {{sku, qty}}]}}" }}')
    return lines


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in [*KINDS, "mixed"]:
        sys.exit(__doc__)
    count, kind = int(sys.argv[1]), sys.argv[2]
    changed = int(sys.argv[3]) if len(sys.argv) > 3 else None
    out = [
        "server: { name: many, http: { listen: 127.0.0.1:0 } }",
        "sources:",
        '  api: { rest: { base_url: "http://127.0.0.1:9/" } }',
        '  db: { sql: { url: "sqlite::memory:" } }',
        "tools:",
    ]
    for number in range(count):
        out += tool(number, KINDS[number % len(KINDS)] if kind == "mixed" else kind, number == changed)
    print("\n".join(out))


if __name__ == "__main__":
    main()
