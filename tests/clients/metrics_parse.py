"""The metrics of a gateway that has served calls, read by the strict parser of Prometheus' own Python client.

    metrics_parse.py BINARY

Starts the gateway and stops it. Ends with "N passed, M failed".
"""

import json
import math
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

LIMIT_S = 60
CONFIG = {
    "server": {"telemetry": {"metrics": "/metrics"}},
    "sources": {
        "db": {"sql": {"url": "sqlite::memory:"}},
        "down": {"rest": {"base_url": "http://127.0.0.1:9", "concurrency": 4, "circuit_breaker": {"failures": 3}}},
    },
    "tools": {
        "rows": {
            "description": "D.",
            "params": {"n": {"type": "integer"}},
            "sql": {"source": "db", "query": "SELECT :n AS n"},
            "policy": {"cache": {"ttl": "60s"}},
        },
        "broken": {
            "description": "D.",
            "rest": {"source": "down", "get": "/"},
            "policy": {"retry": {"attempts": 2, "backoff": "1ms"}},
        },
        "seldom": {
            "description": "D.",
            "static": {"text": "x"},
            "policy": {"rate_limit": {"rate": "1/h", "burst": 1}},
        },
    },
    # What a name may hold, it holds here, so that labels have to be escaped where they must be.
    "resources": {"shop://a/b%22c": {"name": "now", "static": {"text": "now"}}},
}

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
counts = {"passed": 0, "failed": 0}


def check(name, body):
    try:
        body()
        counts["passed"] += 1
        print(f"ok    metrics: {name}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the check failed
        counts["failed"] += 1
        print(f"FAIL  metrics: {name}\n      {type(error).__name__}: {error}")


def ask(url, method, params):
    params = params | {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        "Mcp-Name": params.get("name") or params.get("uri"),
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    try:
        return opener.open(urllib.request.Request(url, body, headers), timeout=LIMIT_S).status
    except urllib.error.HTTPError as error:
        return error.code


def scrape(base):
    with opener.open(f"{base}/metrics", timeout=LIMIT_S) as reply:
        return reply.headers["Content-Type"], reply.read().decode()


def families(text):
    return {family.name: family for family in openmetrics(text)}


def value(found, family, name, **labels):
    return [s.value for s in found[family].samples if s.name == name and labels.items() <= s.labels.items()]


def told(process):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found.group()
        if not line:
            break
    raise SystemExit("FAIL  metrics: the gateway did not start\n0 passed, 1 failed")


def served(base):
    first = scrape(base)[1]
    for n in (1, 1, 2):
        assert ask(f"{base}/mcp", "tools/call", {"name": "rows", "arguments": {"n": n}}) == 200
    for _ in range(3):
        ask(f"{base}/mcp", "tools/call", {"name": "broken"})
        ask(f"{base}/mcp", "tools/call", {"name": "seldom"})
    assert ask(f"{base}/mcp", "resources/read", {"uri": "shop://a/b%22c"}) == 200
    return first, *scrape(base)


def checks(before, kind, text):
    check("the type says OpenMetrics", lambda: expect(kind.startswith("application/openmetrics-text; version=1.0.0"), kind))
    check("before the first call it is sound OpenMetrics", lambda: expect(len(families(before)) > 10, before))
    check("after calls it is sound OpenMetrics", lambda: expect(len(families(text)) > 10, text))
    check("older readers understand it", lambda: expect(len(list(classic(text))) > 10, text))

    def complete():
        for family in families(text).values():
            expect(family.documentation and family.type != "unknown", f"{family.name}: {family.type}")
            expect(family.name.startswith("sidegate_"), family.name)

    def counted():
        found = families(text)
        expect(value(found, "sidegate_calls", "sidegate_calls_total", route="rows", outcome="ok") == [3.0], "rows")
        limited = value(found, "sidegate_calls", "sidegate_calls_total", route="seldom", outcome="rate_limited")
        expect(limited == [2.0], str(limited))
        read = value(found, "sidegate_calls", "sidegate_calls_total", route="shop://a/b%22c", outcome="ok")
        expect(read == [1.0], str(read))

    def histograms():
        for family in families(text).values():
            if family.type != "histogram":
                continue
            buckets = {}
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    labels = {k: v for k, v in sample.labels.items() if k != "le"}
                    buckets.setdefault(tuple(sorted(labels.items())), []).append((float(sample.labels["le"]), sample.value))
            expect(buckets, family.name)
            for labels, pairs in buckets.items():
                expect(pairs == sorted(pairs) and pairs[-1][0] == math.inf, f"{family.name} {labels}: {pairs}")

    check("every family has a type and a sentence", complete)
    check("counters say what was called", counted)
    check("buckets rise to infinity", histograms)


def expect(holds, why):
    if not holds:
        raise AssertionError(why)


def main():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "gateway.yaml").write_text(json.dumps(CONFIG))
        command = [sys.argv[1], "serve", "--listen", "127.0.0.1:0"]
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                checks(*served(told(process)))
            finally:
                process.terminate()
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    sys.exit(counts["failed"] > 0)


main()
