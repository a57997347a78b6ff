"""Uses the example's tools with mcp 1.x (a session): list, call, progress, cancel, errors.

usage: mcp1_client.py URL KEY PREFIX     PREFIX stands before the ledger's tools; prints one JSON value
"""

import asyncio
import json
import sys

from mcp import ClientSession, types
from mcp.client.streamable_http import streamablehttp_client

URL, KEY, PREFIX = sys.argv[1], sys.argv[2], sys.argv[3]


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def attempt(work):
    try:
        return {"result": plain(await asyncio.wait_for(work, 20))}
    except Exception as error:  # what kind is the very question
        return {"type": type(error).__name__, "text": str(error)}


async def main():
    seen = {}
    async with streamablehttp_client(URL, headers={"Authorization": f"Bearer {KEY}"}) as (read, write, _):
        async with ClientSession(read, write) as session:
            seen["initialize"] = plain(await session.initialize())
            seen["tools"] = sorted(tool.name for tool in (await session.list_tools()).tools)
            await session.send_ping()
            await use(seen, session)
    print(json.dumps(seen))


async def use(seen, session):
    seen["holdings"] = plain(await session.call_tool(f"{PREFIX}holdings", {}))

    progress = []

    async def on_progress(done, total, message):
        progress.append([done, total])

    await session.call_tool(f"{PREFIX}history", {"delay_ms": 500}, progress_callback=on_progress)
    seen["progress"] = progress

    seen["cancelled"] = await cancelled(session)
    seen["denied"] = await attempt(session.call_tool(f"{PREFIX}buy", {"milli_ounces": 10, "price_cents": 10}))
    seen["unknown"] = await attempt(session.call_tool(f"{PREFIX}nonsense", {}))
    if PREFIX:
        for dead in ("cut", "silent"):
            seen[dead] = await attempt(session.call_tool(f"{dead}__echo", {"text": "hello"}))
    seen["bad_arguments"] = await attempt(session.call_tool(f"{PREFIX}history", {"limit": "many"}))
    # The session has outlived all that.
    seen["after"] = plain(await session.call_tool(f"{PREFIX}holdings", {}))


async def cancelled(session):
    """Sends a slow call and a notification that cancels it."""
    call = asyncio.create_task(session.call_tool(f"{PREFIX}history", {"delay_ms": 5000}))
    await asyncio.sleep(0.7)
    # The session numbers its requests; the last one given out is this call's.
    params = types.CancelledNotificationParams(requestId=session._request_id - 1, reason="enough")
    await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
    done, _ = await asyncio.wait([call], timeout=2)
    if done:
        return await attempt(call)
    call.cancel()
    return "no answer"


asyncio.run(asyncio.wait_for(main(), 90))
