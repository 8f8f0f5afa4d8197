"""The official Python SDK against rehearsal.yaml, in both of its connection modes: questions, progress, log lines, cancelling,
suggestions and news.

python_suite.py says how it is run.
"""

import warnings
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.shared.exceptions import MCPDeprecationWarning
from python_news import legacy_news, modern_news
from python_suite import VERSIONS, counted, expect, run, same, target, text

MISSING_CAPABILITY = -32021

# Roots, sampling and log levels are deprecated in the newer era; this is where they are tested.
warnings.simplefilter("ignore", MCPDeprecationWarning)


class Peer:
    """A client that keeps what it was asked and told; it answers with what is in `answers`."""

    def __init__(self, kind: str, mode: str, able: bool) -> None:
        self.kind, self.mode, self.able = kind, mode, able
        self.answers: list = []
        self.asked: list = []
        self.news: list[str] = []
        self.logs: list[tuple] = []
        self.faults: list[str] = []
        self.client: Client

    async def elicit(self, _context, params):
        self.asked.append(params)
        return self.answers.pop(0) if self.answers else types.ElicitResult(action="cancel")

    async def sample(self, _context, params):
        self.asked.append(params)
        content = types.TextContent(type="text", text=f"About {params.messages[0].content.text}")
        return types.CreateMessageResult(role="assistant", model="parrot", content=content)

    async def roots(self, _context):
        self.asked.append("roots")
        roots = [("file:///home/ada", "home"), ("file:///srv", "srv")]
        return types.ListRootsResult(roots=[types.Root(uri=uri, name=name) for uri, name in roots])

    async def log(self, params):
        self.logs.append((params.level, params.logger, params.data))

    async def hear(self, message):
        if isinstance(message, Exception):
            self.faults.append(repr(message))
        elif message.method.endswith(("/list_changed", "/updated")):
            self.news.append(str(getattr(message.params, "uri", None) or message.method.removeprefix("notifications/")))

    @asynccontextmanager
    async def connected(self, where: str):
        callbacks = {"message_handler": self.hear, "logging_callback": self.log}
        if self.able:
            callbacks |= {"elicitation_callback": self.elicit, "sampling_callback": self.sample}
            callbacks |= {"list_roots_callback": self.roots}
        async with Client(target(self.kind, where), mode=self.mode, **callbacks) as client:
            same(client.protocol_version, VERSIONS[self.mode])
            self.client = client
            yield self

    async def call(self, name: str, arguments: dict | None = None, **more):
        return await self.client.call_tool(name, arguments or {}, **more)

    async def said(self, name: str, arguments: dict | None = None) -> str:
        self.asked = []
        result = await self.call(name, arguments)
        expect(not result.is_error, f"{result!r}")
        return text(result.content)

    async def written(self, note: str) -> int:
        return (await self.call("count_notes", {"text": note})).structured_content["written"]


def accept(**content) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


async def questions(check, able: Peer) -> None:
    async def asks_the_person():
        able.answers = [accept(name="Ada", age=36)]
        same(await able.said("register", {"event": "the fair"}), 'the fair: accept {"age": 36, "name": "Ada"}')
        [asked] = able.asked
        same(asked.message, "Who comes to the fair?")
        schema = getattr(asked, "requested_schema", None) or asked.requestedSchema
        same(sorted(schema["properties"]), ["age", "name"])

    async def hears_no():
        for action in ("decline", "cancel"):
            able.answers = [types.ElicitResult(action=action)]
            said = await able.said("register", {"event": "the fair"})
            expect(said.startswith(f"the fair: {action} "), said)

    async def asks_twice():
        able.answers = [accept(name="Ada"), accept(color="blue")]
        same(await able.said("ask_twice"), "About Greet somebody., Ada likes blue.")
        same(len(able.asked), 3)
        same(able.asked[2].message, "Your colour?")

    async def asks_the_model():
        same(await able.said("ask_model", {"question": "whales"}), "assistant parrot: About whales")
        [asked] = able.asked
        same((asked.max_tokens, asked.system_prompt, asked.temperature), (50, "Be brief.", 0.5))

    async def asks_for_roots():
        same(await able.said("folders"), "home=file:///home/ada;srv=file:///srv;")
        same(able.asked, ["roots"])

    async def asks_for_a_prompt():
        able.answers = [accept(topic="whales")]
        messages = (await able.client.get_prompt("brief")).messages
        same(messages[0].content.text, "Write a brief about whales.")

    await check("asks the person and goes on with the answer", asks_the_person)
    await check("goes on when the person declines or cancels", hears_no)
    await check("asks two things at once, then a third", asks_twice)
    await check("asks the model", asks_the_model)
    await check("asks for the roots", asks_for_roots)
    await check("asks before it renders a prompt", asks_for_a_prompt)


async def refusals(check, unable: Peer) -> None:
    note = f"{unable.kind} {unable.mode} unable"
    for tool, arguments, capability in (
        ("register", {"event": "the fair"}, "elicitation"),
        ("ask_model", {"question": "whales"}, "sampling"),
        ("folders", {}, "roots"),
        ("add_note", {"text": note}, "elicitation"),
    ):

        async def is_refused(tool=tool, arguments=arguments, capability=capability):
            try:
                result = await unable.call(tool, arguments)
            except MCPError as error:
                same((unable.mode, error.code), ("auto", MISSING_CAPABILITY))
                same(list(error.error.data["requiredCapabilities"]), [capability])
            else:
                same((unable.mode, result.is_error), ("legacy", True))
                expect("this client did not declare `" in text(result.content), text(result.content))

        await check(f"refuses {tool} to a client without {capability}", is_refused)

    async def wrote_nothing():
        same(await unable.written(note), 0)

    await check("writes nothing for a client that cannot ask", wrote_nothing)


async def confirmations(check, able: Peer, unable: Peer) -> None:
    begin = f"{able.kind} {able.mode} python"

    async def yes():
        able.asked, able.answers = [], [accept()]
        result = await able.call("add_note", {"text": f"{begin} yes"})
        same(result.structured_content, {"count": 1})
        same([asked.message for asked in able.asked], [f'Write the note "{begin} yes"?'])
        same(await unable.written(f"{begin} yes"), 1)

    async def no():
        for action in ("decline", "cancel"):
            able.answers = [types.ElicitResult(action=action)]
            result = await able.call("add_note", {"text": f"{begin} {action}"})
            expect(result.is_error, f"{result!r}")
            same(await unable.written(f"{begin} {action}"), 0)

    async def fails_to_ask():
        able.answers = [types.ErrorData(code=-32000, message="no screen")]
        try:
            result = await able.call("add_note", {"text": f"{begin} failed"})
        except MCPError as error:
            same((able.mode, error.error.message), ("auto", "no screen"))
        else:
            same((able.mode, result.is_error), ("legacy", True))
            expect("refused to pass on" in text(result.content), text(result.content))
        same(await unable.written(f"{begin} failed"), 0)

    async def asks_again():
        able.answers = [accept(), types.ElicitResult(action="decline")]
        await able.call("add_note", {"text": f"{begin} again"})
        expect((await able.call("add_note", {"text": f"{begin} again"})).is_error, "written without asking")
        same(await unable.written(f"{begin} again"), 1)

    await check("writes once after a yes to the very question", yes)
    await check("writes nothing after no, and after no answer", no)
    await check("writes nothing when the client fails to ask", fails_to_ask)
    await check("asks again before it writes again", asks_again)


async def talking(check, able: Peer, unable: Peer) -> None:
    async def progress():
        heard = []

        async def hear(progress, total, message):
            heard.append((progress, total, message))

        await able.call("press", progress_callback=hear)
        same(heard, [(0, 3, "plates"), (1, 3, "ink"), (2.5, 3, "paper"), (3, 3, None)])
        await able.call("press")
        same(len(heard), 4)

    async def log_lines():
        able.logs = []
        if able.mode == "legacy":
            await able.client.session.set_logging_level("warning")
            await able.call("speak")
        else:
            await able.call("speak", meta={"io.modelcontextprotocol/logLevel": "warning"})
        same(able.logs, [("warning", "press", {"paper": "low"}), ("error", None, "jammed")])

    # Up to 2025-11-25 a server chooses what to send to those who set no level; since then it is nothing.
    chosen = ["info", "warning", "error"] if unable.mode == "legacy" else []

    async def unasked_log_lines():
        await unable.call("speak")
        same([line[0] for line in unable.logs], chosen)

    await check("reports progress in order, to the call that asked", progress)
    await check("logs at the level that was asked for, and above", log_lines)
    await check(f"logs {', '.join(chosen) or 'nothing'} to those who set no level", unasked_log_lines)


async def cancelling(check, able: Peer) -> None:
    begin = f"{able.kind} {able.mode} python"

    async def cancels():
        with anyio.fail_after(10):
            with anyio.CancelScope() as scope:

                async def leave(*_):
                    scope.cancel()

                await able.call("wait", progress_callback=leave)
        expect(scope.cancelled_caught, "the call was not cancelled")
        same(await able.said("hello"), "Hello.")

    async def times_out():
        try:
            await able.call("wait", read_timeout_seconds=0.3)
        except MCPError as error:
            expect("timed out" in str(error).lower(), str(error))
        else:
            raise AssertionError("the call was answered")
        same(await able.said("hello"), "Hello.")

    async def works():
        await able.call("work_on_note", {"text": f"{begin} worked", "steps": 10})
        same(await able.written(f"{begin} worked"), 1)

    async def stops_the_database():
        with anyio.move_on_after(0.3) as scope:
            await able.call("work_on_note", {"text": f"{begin} stopped", "steps": 100_000_000})
        expect(scope.cancelled_caught, "the call was not cancelled")
        result = await able.call("jot_note", {"text": f"{begin} next"})
        expect(not result.is_error, f"{result!r}")
        same(await able.written(f"{begin} next"), 1)
        same(await able.written(f"{begin} stopped"), 0)

    await check("cancels a long call, and the next is answered", cancels)
    await check("gives up waiting, and the next call is answered", times_out)
    await check("does the work when nobody cancels", works)
    await check("stops the database when cancelled: the next write does not wait", stops_the_database)


async def suggestions(check, able: Peer) -> None:
    async def complete(ref, name: str, value: str, context: dict | None = None) -> list[str]:
        return (await able.client.complete(ref, {"name": name, "value": value}, context)).completion.values

    shelf = types.ResourceTemplateReference(type="ref/resource", uri="note://shelf/{box}/{title}")

    async def from_a_list():
        prompt = types.PromptReference(type="ref/prompt", name="greet")
        same(await complete(prompt, "tone", "f"), ["formal", "friendly", "funny"])
        same(await complete(shelf, "box", "bl"), ["blue", "black"])

    async def from_the_database():
        same(await complete(shelf, "title", "a"), ["alpha", "apple", "atlas"])
        same(await complete(shelf, "title", "a", {"box": "red"}), ["apple"])
        same(await complete(shelf, "title", "zz"), [])

    await check("suggests from a list", from_a_list)
    await check("suggests from the database, by what else is filled in", from_the_database)


async def session(kind: str, where: str, mode: str) -> None:
    check = counted(kind, mode)
    async with Peer(kind, mode, True).connected(where) as able, Peer(kind, mode, False).connected(where) as unable:
        await questions(check, able)
        await refusals(check, unable)
        await confirmations(check, able, unable)
        await talking(check, able, unable)
        await cancelling(check, able)
        await suggestions(check, able)
        await (legacy_news if mode == "legacy" else modern_news)(check, able, unable)

        async def no_faults():
            same(able.faults + unable.faults, [])

        await check("sees no transport error", no_faults)


run(session)
