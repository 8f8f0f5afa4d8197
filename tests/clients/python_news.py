"""News as the Python SDK hears them: which list has changed, which resource has, and only if it asked. A part of
python_rehearsal.py."""

import anyio
from python_suite import expect, same, until

LISTS = ["tools/list_changed", "prompts/list_changed", "resources/list_changed"]
CHANGES = ("change_tools", "change_prompts", "change_resources", "change_desk", "change_board")


async def legacy_news(check, able, other) -> None:
    """Up to 2025-11-25: lists to every stream, a resource to those who subscribed to it."""
    both = (able, other)

    async def changed(*tools: str) -> None:
        """Both hear of a change: over HTTP they share a server, over stdio each has its own."""
        for tool in tools:
            for peer in both if able.kind == "stdio" else (able,):
                await peer.call(tool)

    def heard() -> list[list[str]]:
        news = [peer.news for peer in both]
        able.news, other.news = [], []
        return news

    async def last(news: str) -> None:
        await until(lambda: all(peer.news[-1:] == [news] for peer in both))

    async def lists():
        # The client does not say when its stream stands.
        for _ in range(25):
            await changed("change_tools")
            if await until(lambda: all(peer.news for peer in both), 0.2):
                break
        await changed("change_prompts")
        await last("prompts/list_changed")
        heard()
        await changed("change_tools", "change_prompts", "change_resources")
        await last("resources/list_changed")
        same(heard(), [LISTS, LISTS])

    async def resources():
        await able.client.subscribe_resource("note://board")
        await changed("change_desk", "change_board", "change_tools")
        await last("tools/list_changed")
        same(heard(), [["note://board", "tools/list_changed"], ["tools/list_changed"]])
        await able.client.unsubscribe_resource("note://board")
        await changed("change_board", "change_tools")
        await last("tools/list_changed")
        same(heard(), [["tools/list_changed"], ["tools/list_changed"]])

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
