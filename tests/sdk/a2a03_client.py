"""Uses an A2A agent with a2a-sdk 0.3.x: card, send, stream, get, cancel, resubscribe, errors.

usage: a2a03_client.py BASE KEY [--echo]     prints one JSON value
"""

import asyncio
import json
import sys
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    Message,
    Part,
    Role,
    TaskArtifactUpdateEvent,
    TaskIdParams,
    TaskQueryParams,
    TextPart,
)

BASE, KEY = sys.argv[1], sys.argv[2]
ECHO = "--echo" in sys.argv


def question(text):
    return Message(message_id=str(uuid.uuid4()), role=Role.user, parts=[Part(root=TextPart(text=text))])


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def ask(client, text):
    """The last thing that was said, and the states on the way."""
    states, last = [], None
    async for event in client.send_message(question(text)):
        if isinstance(event, Message):
            states.append("message")
            last = event
            continue
        task, update = event
        last = task
        states.append("artifact" if isinstance(update, TaskArtifactUpdateEvent) else task.status.state.value)
    return plain(last), states


async def failure(work):
    try:
        await work
    except Exception as error:  # what kind is the very question
        return {"type": type(error).__name__, "text": str(error)}
    return None


async def main():
    seen = {}
    async with httpx.AsyncClient(timeout=30, headers={"Authorization": f"Bearer {KEY}"}) as http:
        card = await A2ACardResolver(http, BASE).get_agent_card()
        seen["card"] = plain(card)
        streaming = ClientFactory(ClientConfig(httpx_client=http, streaming=True)).create(card)
        unary = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
        seen["stream"], seen["stream_states"] = await ask(streaming, "What is my profit?")
        seen["send"], _ = await ask(unary, "What is my profit?")
        if not ECHO:
            await tasks(seen, streaming, unary)
    print(json.dumps(seen))


async def tasks(seen, streaming, unary):
    done = seen["send"]["id"]
    got = await unary.get_task(TaskQueryParams(id=done, history_length=1))
    seen["get"] = got.status.state.value

    events = streaming.send_message(question("slowly please"))
    started, _ = await anext(events)
    states = []
    async for task, update in streaming.resubscribe(TaskIdParams(id=started.id)):
        states.append("artifact" if isinstance(update, TaskArtifactUpdateEvent) else task.status.state.value)
        if len(states) == 2:
            cancelled = await unary.cancel_task(TaskIdParams(id=started.id))
            seen["cancel"] = cancelled.status.state.value
    seen["subscribe_states"] = states
    await events.aclose()

    seen["errors"] = {
        "get_unknown": await failure(unary.get_task(TaskQueryParams(id="nope"))),
        "cancel_done": await failure(unary.cancel_task(TaskIdParams(id=done))),
    }


asyncio.run(asyncio.wait_for(main(), 60))
