"""Uses the example's tools with mcp 2.x: list, call, progress, cancel, errors.

usage: mcp2_client.py URL KEY PREFIX MODE     MODE is auto, legacy or 2026-07-28; prints one JSON value
"""

import asyncio
import json
import sys

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

URL, KEY, PREFIX, MODE = sys.argv[1:5]


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def attempt(work):
    try:
        return {"result": plain(await asyncio.wait_for(work, 20))}
    except Exception as error:  # what kind is the very question
        return {"type": type(error).__name__, "text": str(error)}


async def main():
    seen = {}
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as http:
        async with Client(streamable_http_client(URL, http_client=http), mode=MODE) as client:
            seen["version"] = client.protocol_version
            seen["tools"] = sorted(tool.name for tool in (await client.list_tools()).tools)
            await use(seen, client)
    print(json.dumps(seen))


async def use(seen, client):
    seen["holdings"] = plain(await client.call_tool(f"{PREFIX}holdings", {}))

    progress = []

    async def on_progress(done, total, message):
        progress.append([done, total])

    await client.call_tool(f"{PREFIX}history", {"delay_ms": 500}, progress_callback=on_progress)
    seen["progress"] = progress

    with anyio.move_on_after(0.7) as scope:
        await client.call_tool(f"{PREFIX}history", {"delay_ms": 5000})
    seen["cancelled"] = scope.cancelled_caught

    seen["denied"] = await attempt(client.call_tool(f"{PREFIX}buy", {"milli_ounces": 10, "price_cents": 10}))
    seen["unknown"] = await attempt(client.call_tool(f"{PREFIX}nonsense", {}))
    if PREFIX:
        for dead in ("cut", "silent"):
            seen[dead] = await attempt(client.call_tool(f"{dead}__echo", {"text": "hello"}))
    seen["bad_arguments"] = await attempt(client.call_tool(f"{PREFIX}history", {"limit": "many"}))
    seen["after"] = plain(await client.call_tool(f"{PREFIX}holdings", {}))


asyncio.run(asyncio.wait_for(main(), 90))
