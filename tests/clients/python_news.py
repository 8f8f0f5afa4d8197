"""News as the Python SDK hears them: which list has changed, which resource has, and only if it asked. A part of
python_rehearsal.py."""

import anyio
from python_suite import expect, same, until

LISTS = ["tools/list_changed", "prompts/list_changed", "resources/list_changed"]
CHANGES = ("change_tools", "change_prompts", "change_resources", "change_desk", "change_board")


async def legacy_news(check, able, other) -> None:
    """Up to 2025-11-25: lists to every stream, a resource to those who subscribed to it."""

    async def lists():
        # The client does not say when its stream stands.
        for _ in range(25):
            await able.call("change_tools")
            if await until(lambda: able.news, 0.2):
                break
        await anyio.sleep(0.1)
        able.news = []
        for tool in ("change_tools", "change_prompts", "change_resources"):
            await able.call(tool)
        await until(lambda: len(able.news) >= 3)
        same(able.news, LISTS)

    async def resources():
        able.news, other.news = [], []
        await able.client.subscribe_resource("note://board")
        for tool in ("change_desk", "change_board", "change_tools"):
            await able.call(tool)
            if able.kind == "stdio":
                await other.call(tool)
        await until(lambda: len(able.news) >= 2 and other.news)
        same(able.news, ["note://board", "tools/list_changed"])
        same(other.news, ["tools/list_changed"])
        await able.client.unsubscribe_resource("note://board")
        able.news = []
        for tool in ("change_board", "change_tools"):
            await able.call(tool)
        await until(lambda: able.news)
        same(able.news, ["tools/list_changed"])

    await check("tells every session of changed lists", lists)
    await check("tells of a resource only those who subscribed to it", resources)


async def heard(subscription, count: int) -> list[str]:
    """The next events of a stream by name."""
    names = []
    with anyio.fail_after(5):
        while len(names) < count:
            event = await anext(subscription)
            names.append(getattr(event, "uri", type(event).__name__))
    return names


async def modern_news(check, able, other) -> None:
    """Since 2026-07-28: what a stream asked for."""
    boards = ["note://board", "note://desk"]
    every = {"tools_list_changed": True, "prompts_list_changed": True, "resources_list_changed": True}

    async def change(peer):
        for tool in CHANGES:
            await peer.call(tool)

    async def everything():
        async with able.client.listen(**every, resource_subscriptions=boards) as subscription:
            await change(able)
            wanted = ["ToolsListChanged", "PromptsListChanged", "ResourcesListChanged", *reversed(boards)]
            same(await heard(subscription, 5), wanted)

    async def nothing_else():
        filters = {"prompts_list_changed": True, "resource_subscriptions": boards[:1]}
        async with able.client.listen(**filters) as subscription:
            honored = subscription.honored.model_dump(exclude_none=True)
            same(honored, filters)
            able.news = []
            await change(able)
            same(await heard(subscription, 2), ["PromptsListChanged", "note://board"])
        # What the server sent, before the client compared it with what it had asked for.
        await until(lambda: len(able.news) >= 2)
        same(able.news, ["prompts/list_changed", "note://board"])

    async def two_streams():
        async with (
            able.client.listen(tools_list_changed=True) as tools,
            able.client.listen(prompts_list_changed=True) as prompts,
        ):
            expect(tools.subscription_id != prompts.subscription_id, "one id for two streams")
            await change(able)
            same(await heard(tools, 1), ["ToolsListChanged"])
            same(await heard(prompts, 1), ["PromptsListChanged"])

    async def silence():
        # The client leaves its streams in the background.
        await anyio.sleep(0.2)
        able.news, other.news = [], []
        await change(able)
        if able.kind == "stdio":
            await change(other)
        await anyio.sleep(0.2)
        same((able.news, other.news), ([], []))

    await check("tells a listener everything it asked for", everything)
    await check("tells a listener nothing else", nothing_else)
    await check("keeps two listeners of one client apart", two_streams)
    await check("tells nothing to those who do not listen", silence)
