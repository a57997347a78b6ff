"""Uses @modelcontextprotocol/server-everything through the gateway with mcp 1.x.

usage: everything_client.py URL KEY     prints one JSON value
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

URL, KEY = sys.argv[1], sys.argv[2]


async def main():
    seen = {"progress": []}
    async with streamablehttp_client(URL, headers={"Authorization": f"Bearer {KEY}"}) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            seen["tools"] = sorted(tool.name for tool in (await session.list_tools()).tools)
            seen["echo"] = (await session.call_tool("echo", {"message": "hello"})).content[0].text
            seen["sum"] = (await session.call_tool("get-sum", {"a": 2, "b": 40})).content[0].text

            async def on_progress(done, total, message):
                seen["progress"].append([done, total])

            arguments = {"duration": 1, "steps": 4}
            work = session.call_tool("trigger-long-running-operation", arguments, progress_callback=on_progress)
            seen["long"] = (await work).content[0].text
    print(json.dumps(seen))


asyncio.run(asyncio.wait_for(main(), 60))
