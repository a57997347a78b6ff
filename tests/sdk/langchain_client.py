"""Uses the gateway as the only server of a LangChain MultiServerMCPClient.

usage: langchain_client.py URL KEY     prints one JSON value
"""

import asyncio
import json
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient

URL, KEY = sys.argv[1], sys.argv[2]


async def main():
    connection = {"transport": "streamable_http", "url": URL, "headers": {"Authorization": f"Bearer {KEY}"}}
    client = MultiServerMCPClient({"kamf": connection})
    tools = {tool.name: tool for tool in await client.get_tools()}
    price = await tools["gold_price__price_now"].ainvoke({})
    holdings = await tools["ledger__holdings"].ainvoke({})
    facts = {"milli_ounces": 3000, "cost_cents": 1189645, "price_cents": 424755}
    profit = await tools["profit_clac__profit"].ainvoke(facts)
    said = {"price": price, "holdings": holdings, "profit": profit}
    print(json.dumps({"tools": sorted(tools), **{name: str(value) for name, value in said.items()}}))


asyncio.run(asyncio.wait_for(main(), 60))
