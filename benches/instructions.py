#!/usr/bin/env python3
"""What a call costs in instructions and in allocations, which a busy machine does not change, beside the figures in
results/instructions.json.

  benches/instructions.py BINARY            fails where a call costs 10 % more than is written there; tells where it costs 10 % less
  benches/instructions.py BINARY --update   writes the figures
  benches/instructions.py BINARY --only rest --keep FOLDER
                                            one row; the profiles stay in FOLDER, for callgrind_annotate

The release binary serves under callgrind, once for N calls over one connection that is kept and once for 2N; the difference is what N
calls cost. Each of the two is an ordinary run with its start and its end, so that what they cost falls away. Of a row that is too high
the lowest of three such pairs counts. An allocation is a call of the system's malloc, calloc, realloc or an aligned one. Needs valgrind.
With another compiler, or on a machine without the instructions that the figures were taken with, what differs is told and is no failure.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import typing

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results" / "instructions.json"
TOLERANCE = 0.10
CALLS = 500
WARM_UP = 50
PATIENCE = 240  # seconds for one process

CONFIG = """
server: {{ name: bench, http: {{ listen: 127.0.0.1:0 }}, log: {{ level: warn }} }}
sources:
  up: {{ rest: {{ base_url: "http://127.0.0.1:{upstream}" }} }}
  db: {{ sql: {{ url: "sqlite:bench.db", init: bench.sql, pool: {{ max: 1 }} }} }}
tools:
  hello: {{ description: Fixed text., static: {{ text: "{text}" }} }}
  kept: {{ description: Kept text., static: {{ text: "{text}" }}, policy: {{ cache: {{ ttl: 1h }} }} }}
  order:
    description: One order.
    params: {{ id: {{ type: string }} }}
    rest: {{ source: up, get: "/orders/{{id}}" }}
  item:
    description: One row.
    params: {{ id: {{ type: integer }} }}
    sql: {{ source: db, query: "SELECT id, name, note, price FROM items WHERE id = :id", row: one }}
"""
SQL = """
CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT NOT NULL, price REAL NOT NULL);
INSERT INTO items VALUES (1, 'item 1', 'kept on shelf 1', 1.5), (42, 'item 42', 'kept on shelf 42', 42.5);
"""
TEXT = (
    "The returns desk takes goods back for thirty days after delivery, with the invoice, unworn and in their box. "
    "Refunds go to the card that paid; shipping is ours when the fault is."
)
# The row, its method and parameters, and what every right answer holds.
ROWS = {
    "static": ("tools/call", {"name": "hello", "arguments": {}}, b"The returns desk"),
    "cached": ("tools/call", {"name": "kept", "arguments": {}}, b"The returns desk"),
    "list": ("tools/list", {}, b"One order."),
    "rest": ("tools/call", {"name": "order", "arguments": {"id": "ORD-1001"}}, b"ORD-1001"),
    "sqlite": ("tools/call", {"name": "item", "arguments": {"id": 42}}, b"item 42"),
}
ORDER = json.dumps(
    {
        "id": "ORD-1001",
        "status": "open",
        "total": 358.2,
        "customer": {"id": 42, "name": "Zoë Müller", "city": "Zürich"},
        "lines": [{"sku": f"SKU-{line:04}", "name": 'Mug, "blue"', "qty": line} for line in range(1, 9)],
        "notes": "n" * 340,
    },
    ensure_ascii=False,
).encode()


def message(method, params):
    """A whole HTTP request of the modern era."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "instructions", "version": "1.0.0"},
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": meta}}).encode()
    name = f"mcp-name: {params['name']}\r\n" if "name" in params else ""
    head = (
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n"
        f"mcp-method: {method}\r\n{name}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def whole(stream, read):
    """One HTTP message with a length, and what was read beyond it."""
    while b"\r\n\r\n" not in read:
        read += more(stream)
    head, _, body = read.partition(b"\r\n\r\n")
    said = re.search(rb"(?i)content-length: *(\d+)", head)
    length = int(said.group(1)) if said else 0
    while len(body) < length:
        body += more(stream)
    return head, body[:length], body[length:]


def more(stream):
    read = stream.recv(65536)
    if not read:
        raise EOFError("the connection was closed")
    return read


class Upstream:
    """Answers every request on every connection with one order."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.answer, args=(stream,), daemon=True).start()

    @staticmethod
    def answer(stream):
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ORDER)}\r\n\r\n"
        rest = b""
        try:
            while True:
                _, _, rest = whole(stream, rest)
                stream.sendall(head.encode() + ORDER)
        except (EOFError, OSError):
            stream.close()


def call(stream, request, proof, times):
    for _ in range(times):
        stream.sendall(request)
        head, body, _ = whole(stream, b"")
        if not head.startswith(b"HTTP/1.1 200") or proof not in body or b'"isError":true' in body:
            raise RuntimeError(f"this is not the answer:\n{head.decode()}\n{body.decode()}")


class Cost(typing.NamedTuple):
    """What a process, or a call, takes."""

    instructions: float
    allocations: float

    def within(self, most):
        return self.instructions <= most.instructions and self.allocations <= most.allocations


ALLOCATORS = re.compile(r"(malloc|calloc|realloc|posix_memalign|aligned_alloc)(@@\S+)?('\d+)?")


def allocations(profile):
    """How often the functions that allocate were called, by a callgrind profile; what they call of each other is not counted."""
    names, inside, called, counted = {}, False, False, 0
    with open(profile, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("calls="):
                counted += int(line[6:].split()[0]) if called and not inside else 0
            elif line.startswith(("fn=", "cfn=")):
                key, _, name = line.partition("=")[2].strip().partition(" ")
                allocates = bool(ALLOCATORS.fullmatch(names.setdefault(key, name)))
                if line.startswith("c"):
                    called = allocates
                else:
                    inside = allocates
    return counted


def run(binary, row, calls, profile, *more):
    """What a process takes that answers so many calls, from its start to its end; `more` goes to callgrind."""
    method, params, proof = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "bench.yaml").write_text(CONFIG.format(upstream=Upstream().port, text=TEXT))
        (folder / "bench.sql").write_text(SQL)
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", *more, binary]
        command += ["serve", "-c", folder / "bench.yaml", "--listen", "127.0.0.1:0"]
        log = folder / "log"
        with log.open("wb") as errors:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment()
            )
        late = threading.Timer(PATIENCE, server.kill)
        late.start()
        try:
            said = re.search(rb"127\.0\.0\.1:(\d+)", server.stdout.readline())
            if not said:
                raise RuntimeError(f"the gateway did not start:\n{log.read_text()}")
            with socket.create_connection(("127.0.0.1", int(said.group(1)))) as stream:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                call(stream, message(method, params), proof, WARM_UP + calls)
            server.send_signal(signal.SIGTERM)
            server.wait()
        finally:
            late.cancel()
            server.kill()
            server.wait()
        counted = re.search(r"Collected : (\d+)", log.read_text())
        if not counted:
            raise RuntimeError(f"valgrind counted nothing:\n{log.read_text()}")
        return Cost(int(counted.group(1)), allocations(profile))


def environment():
    """Nothing of ours that would change the way; one way to copy memory on all machines that are not very old."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return {**kept, "TOKIO_WORKER_THREADS": "1", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS,-FSRM,-AVX512F,-AVX512VL"}


def measure(binary, row, keep):
    with tempfile.TemporaryDirectory() as folder:
        once, twice = (
            run(binary, row, n, (keep or pathlib.Path(folder)) / f"{row}-{n}.callgrind") for n in (CALLS, 2 * CALLS)
        )
    per_call = [(more - less) / CALLS for less, more in zip(once, twice)]
    return Cost(round(per_call[0]), round(per_call[1], 1))


def lowest(binary, row, keep, enough):
    """The lowest of three, or the first that is low enough: threads that wait for one another only add to what a call costs."""
    found = []
    while len(found) < 3 and not (found and found[-1].within(enough)):
        found.append(measure(binary, row, keep))
    return min(found)


def machine():
    """What changes the figures though the program stays the same."""
    rustc = subprocess.run(["rustc", "-V"], capture_output=True, text=True, check=False).stdout.strip()
    flags = set()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags = set(line.split())
            break
    instructions_of = [flag for flag in ("sse4_2", "avx2", "aes", "pclmulqdq", "sha_ni") if flag in flags]
    return {"rustc": rustc, "architecture": os.uname().machine, "instructions": instructions_of}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--only", action="append", choices=ROWS)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    rows = options.only or list(ROWS)
    binary = options.binary.resolve()
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    here = machine()
    same = known.get("machine") == here
    names = [f"{what}_per_call" for what in Cost._fields]
    written = {name: known.get(name, {}) for name in names}

    def cost_of(row):
        was = [written[name].get(row, float("inf")) * (1 + TOLERANCE) for name in names]
        enough = Cost(0, 0) if options.update else Cost(*was) if same else Cost(float("inf"), float("inf"))
        return lowest(binary, row, options.keep, enough)

    with concurrent.futures.ThreadPoolExecutor(min(2, len(os.sched_getaffinity(0)))) as pool:
        costs = dict(zip(rows, pool.map(cost_of, rows)))

    passed = failed = 0
    for row, cost in costs.items():
        for what, name, figure in zip(Cost._fields, names, cost):
            was = written[name].get(row)
            ratio = figure / was if was else 1.0
            beside = f"{was} are written down ({ratio - 1:+.1%})" if was else "none are written down"
            words = f"{row}: {figure} {what} per call, {beside}"
            if ratio > 1 + TOLERANCE and same and not options.update:
                failed += 1
                print(f"FAIL  {words}")
                print("      if that is how it has to be: benches/instructions.py BINARY --update")
            else:
                passed += 1
                low = " - renew it with --update" if ratio < 1 - TOLERANCE and not options.update else ""
                print(f"ok    {words}{low}")
    if not same and not options.update:
        print(f"not held to them: they were taken with {known.get('machine')}, this is {here}")
    if options.update:
        known["machine"] = here
        known["calls"] = CALLS
        for at, name in enumerate(names):
            known[name] = written[name] | {row: cost[at] for row, cost in costs.items()}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(known, indent=2) + "\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
