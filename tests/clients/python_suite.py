"""What the suites of the Python SDK share: where the server is, counting checks, and waiting for something to happen.

    SUITE.py http URL            Streamable HTTP
    SUITE.py stdio CONFIG.json   the process a desktop client's configuration names: {"mcpServers": {NAME: …}}
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from mcp import StdioServerParameters, stdio_client

TIME_LIMIT_S = 90
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}

passed = 0
failed = 0


def expect(condition: object, complaint: str) -> None:
    if not condition:
        raise AssertionError(complaint)


def same(found: object, wanted: object) -> None:
    expect(found == wanted, f"{found!r} instead of {wanted!r}")


def text(content: list) -> str:
    expect(content and content[0].type == "text" and content[0].text, f"no text in {content!r}")
    return content[0].text


async def until(condition: Callable[[], object], seconds: float = 5) -> bool:
    """Waits until the condition is true; false if that takes too long."""
    with anyio.move_on_after(seconds):
        while not condition():
            await anyio.sleep(0.01)
    return bool(condition())


def target(kind: str, where: str):
    if kind == "http":
        return where
    [launch] = json.loads(Path(where).read_text())["mcpServers"].values()
    # The server's own log lines stay out of this report.
    return stdio_client(StdioServerParameters(**launch), errlog=open(os.devnull, "w"))


def counted(kind: str, mode: str) -> Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]:
    """What runs and counts one check."""

    async def check(name: str, body: Callable[[], Awaitable[None]]) -> None:
        global passed, failed
        try:
            await body()
        except Exception as error:
            failed += 1
            complaint = f"{type(error).__name__}: {error}".replace("\n", "\n      ")
            print(f"FAIL  {kind} {mode}: {name}\n      {complaint}", flush=True)
        else:
            passed += 1
            print(f"ok    {kind} {mode}: {name}", flush=True)

    return check


async def main(session: Callable[[str, str, str], Awaitable[None]], kind: str, where: str) -> None:
    global failed
    try:
        with anyio.fail_after(TIME_LIMIT_S):
            for mode in VERSIONS:
                try:
                    await session(kind, where, mode)
                except Exception as error:
                    if isinstance(error, TimeoutError):
                        raise
                    failed += 1
                    causes = getattr(error, "exceptions", [error])
                    print(f"FAIL  {kind} {mode}: session: {'; '.join(f'{type(e).__name__}: {e}' for e in causes)}")
    except TimeoutError:
        failed += 1
        print(f"FAIL  not done after {TIME_LIMIT_S} s")


def run(session: Callable[[str, str, str], Awaitable[None]]) -> None:
    """Runs the session in every mode, says the count, and ends the process."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("http", "stdio"):
        sys.exit(f"usage: {Path(sys.argv[0]).name} http URL | stdio CONFIG.json")
    anyio.run(main, session, sys.argv[1], sys.argv[2])
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
