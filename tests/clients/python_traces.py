"""Traces as OpenTelemetry itself reads them: the official Python SDK calls a tool within a span, and what arrives at a collector is parsed
by OpenTelemetry's own definition of OTLP.

    python_traces.py BINARY
"""

import base64
import json
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import python_suite
from google.protobuf import json_format
from mcp import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from python_suite import VERSIONS, counted, expect, same, target

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
STATUS_CODE_ERROR = 2
ID_KEYS = ("traceId", "spanId", "parentSpanId")


class Loopback(ThreadingHTTPServer):
    """A collector, and an API that is ill."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.exported, self.parents = [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.parents.append(self.headers["traceparent"])
        self.answer(503, b"")

    def do_POST(self):
        self.server.exported.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(200, b"{}")


def proto(value):
    """OTLP writes ids in hex where the JSON of Protocol Buffers has base64: the one difference between the two."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(inner)).decode() if key in ID_KEYS else proto(inner)
            for key, inner in value.items()
        }
    return [proto(inner) for inner in value] if isinstance(value, list) else value


def parsed(exported: list[tuple[str, bytes]]) -> list:
    spans = []
    for path, body in exported:
        same(path, "/v1/traces")
        request = json_format.ParseDict(proto(json.loads(body)), ExportTraceServiceRequest())
        for resource in request.resource_spans:
            names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            same(names["service.name"], "traced")
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    return spans


def config(folder: Path, loopback: Loopback) -> Path:
    url = f"http://127.0.0.1:{loopback.server_port}"
    retry = {"attempts": 2, "backoff": "1ms"}
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({
        "server": {"name": "traced", "telemetry": {"otlp": url}},
        "sources": {"api": {"rest": {"base_url": url}}},
        "tools": {"ill": {"description": "I.", "policy": {"retry": retry}, "rest": {"source": "api", "get": "/"}}},
    }))
    return path


async def call(kind: str, where: str, mode: str) -> None:
    context = SpanContext(TRACE, SPAN, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    async with Client(target(kind, where), mode=mode) as client:
        with use_span(NonRecordingSpan(context)):
            result = await client.call_tool("ill", {})
        expect(result.is_error, "the API is ill")


async def session(binary: str, kind: str, mode: str) -> None:
    check, loopback = counted(kind, mode), Loopback()
    with tempfile.TemporaryDirectory() as folder:
        path = config(Path(folder), loopback)
        if kind == "http":
            command = [binary, "serve", "--listen", "127.0.0.1:0", "-c", str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
                try:
                    line = server.stdout.readline()
                    await call(kind, line[line.index("http://") :].split()[0], mode)
                finally:
                    # What was traced is sent before it ends.
                    server.terminate()
                    server.wait(15)
        else:
            launch = Path(folder) / "launch.json"
            server = {"command": binary, "args": ["stdio", "-c", str(path)]}
            launch.write_text(json.dumps({"mcpServers": {"traced": server}}))
            await call(kind, str(launch), mode)
    loopback.shutdown()

    async def goes_on():
        spans = parsed(loopback.exported)
        [request] = [span for span in spans if span.name == "tools/call ill"]
        same(request.trace_id.hex(), f"{TRACE:032x}")
        same(request.parent_span_id.hex(), f"{SPAN:016x}")
        same((request.kind, request.status.code), (request.SPAN_KIND_SERVER, STATUS_CODE_ERROR))
        attempts = [span for span in spans if span.parent_span_id == request.span_id]
        same([span.kind for span in attempts], [request.SPAN_KIND_CLIENT] * 2)
        for span in attempts:
            expect(request.start_time_unix_nano <= span.start_time_unix_nano, "it began before the request")
            expect(span.end_time_unix_nano <= request.end_time_unix_nano, "it ended after the request")
        same(loopback.parents, [f"00-{TRACE:032x}-{span.span_id.hex()}-01" for span in attempts])

    await check("the trace of the SDK goes on, to the tries and to the API", goes_on)


async def main(binary: str) -> None:
    for kind in ("http", "stdio"):
        for mode in VERSIONS:
            with anyio.fail_after(60):
                await session(binary, kind, mode)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
    print(f"{python_suite.passed} passed, {python_suite.failed} failed")
    sys.exit(python_suite.failed > 0)
