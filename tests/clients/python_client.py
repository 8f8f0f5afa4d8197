"""The official Python SDK against a running Sidegate demo, in both of its connection modes.

python_suite.py says how it is run.
"""

import json
import re

from mcp import Client, MCPError
from python_suite import VERSIONS, counted, expect, run, target, text


def rows(structured: dict) -> list:
    """The rows of a structured result, whatever the field that holds them is called."""
    found = next((value for value in structured.values() if isinstance(value, list)), None)
    expect(found, f"no rows in {structured!r}")
    return found


async def session(kind: str, where: str, mode: str) -> None:
    check = counted(kind, mode)

    async with Client(target(kind, where), mode=mode) as client:

        async def negotiates():
            expect(client.protocol_version == VERSIONS[mode], f"negotiated {client.protocol_version}")

        async def names_the_server():
            expect(client.server_info and client.server_info.name == "shop", f"{client.server_info!r}")
            expect("orders" in (client.instructions or "").lower(), f"instructions: {client.instructions!r}")
            for capability in ("tools", "resources", "prompts"):
                expect(getattr(client.server_capabilities, capability) is not None, f"{capability} is not declared")

        async def lists_tools():
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            for name in ("get_order", "create_note", "open_orders", "search_handbook"):
                expect(name in tools, f"{name} is missing")
                expect(tools[name].description, f"{name} has no description")
                expect(tools[name].input_schema["type"] == "object", f"{name}: the schema is not an object's")
            expect(tools["get_order"].input_schema["required"] == ["id"], f"{tools['get_order'].input_schema!r}")
            expect("author" not in tools["create_note"].input_schema["properties"], "a const parameter is shown")

        async def calls_rest():
            result = await client.call_tool("get_order", {"id": "ORD-1001"})
            expect(not result.is_error, text(result.content))
            order = result.structured_content
            expect(order["id"] == "ORD-1001" and isinstance(order["status"], str) and order["lines"], f"{order!r}")
            expect(json.loads(text(result.content)) == order, "text and structured content differ")

        async def calls_sql():
            result = await client.call_tool("open_orders", {"customer": 7})
            expect(not result.is_error, text(result.content))
            for row in rows(result.structured_content):
                expect(re.fullmatch(r"ORD-\d+", row["id"]) and isinstance(row["total"], (int, float)), f"{row!r}")
            expect(re.search(r"\|.*total.*\|", text(result.content)), "the text is not a Markdown table")

        async def calls_vector():
            result = await client.call_tool("search_handbook", {"question": "how long do refunds take"})
            expect(not result.is_error, text(result.content))
            best = rows(result.structured_content)[0]
            expect("refund" in json.dumps(best).lower(), f"the best match does not speak of refunds: {best!r}")

        async def bad_argument():
            result = await client.call_tool("get_order", {"id": "nope"})
            expect(result.is_error, "isError is not set")
            expect(re.search(r"\bid\b.*\S+ \S+", text(result.content), re.S), text(result.content))

        async def unknown_tool():
            try:
                result = await client.call_tool("no_such_tool", {})
            except MCPError as error:
                expect(error.code == -32602, f"code {error.code}")
            else:
                raise AssertionError(f"answered {result!r}")

        async def lists_resources():
            resources = [str(entry.uri) for entry in (await client.list_resources()).resources]
            expect(resources == ["shop://policies/returns"], f"{resources!r}")
            listed = (await client.list_resource_templates()).resource_templates
            templates = [template.uri_template for template in listed]
            expect(templates == ["shop://orders/{id}"], f"{templates!r}")

        async def reads_resource():
            contents = (await client.read_resource("shop://policies/returns")).contents
            expect(len(contents) == 1 and str(contents[0].uri) == "shop://policies/returns", f"{contents!r}")
            expect(contents[0].mime_type == "text/markdown" and "30 days" in contents[0].text, f"{contents!r}")

        async def reads_template():
            contents = (await client.read_resource("shop://orders/ORD-1001")).contents
            expect(contents[0].mime_type == "application/json", f"{contents!r}")
            expect(json.loads(contents[0].text)["id"] == "ORD-1001", f"{contents!r}")

        async def gets_prompt():
            prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
            expect("triage" in prompts, "triage is missing")
            order = next(argument for argument in prompts["triage"].arguments if argument.name == "order")
            expect(order.required, "order is not required")
            messages = (await client.get_prompt("triage", {"order": "ORD-1001"})).messages
            expect([message.role for message in messages] == ["user", "assistant"], f"{messages!r}")
            first = messages[0].content.text
            expect(re.search(r"Order ORD-1001 is \w+", first) and "{{" not in first, first)

        await check(f"connects and negotiates {VERSIONS[mode]}", negotiates)
        await check("names the server and what it offers", names_the_server)
        await check("lists the tools", lists_tools)
        await check("calls a REST tool", calls_rest)
        await check("calls an SQL tool", calls_sql)
        await check("calls a vector search tool", calls_vector)
        await check("gets a sentence back for a bad argument", bad_argument)
        await check("gets a protocol error for an unknown tool", unknown_tool)
        await check("lists resources and templates", lists_resources)
        await check("reads a resource", reads_resource)
        await check("reads a resource template", reads_template)
        await check("gets a prompt", gets_prompt)


run(session)
