"""Uses an A2A agent with a2a-sdk 1.x: card, send, stream, get, cancel, subscribe, errors.

usage: a2a1_client.py BASE KEY [--echo]     prints one JSON value
"""

import asyncio
import json
import sys
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as a2a
from google.protobuf.json_format import MessageToDict

BASE, KEY = sys.argv[1], sys.argv[2]
ECHO = "--echo" in sys.argv


def question(text):
    part = a2a.Part(text=text)
    message = a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[part])
    return a2a.SendMessageRequest(message=message)


async def ask(client, text):
    return [MessageToDict(event) async for event in client.send_message(question(text))]


def states(events):
    found = []
    for event in events:
        for kind in ("task", "statusUpdate"):
            if kind in event:
                found.append(event[kind]["status"]["state"])
        if "artifactUpdate" in event:
            found.append("artifact")
        if "message" in event:
            found.append("message")
    return found


async def failure(work):
    try:
        await work
    except Exception as error:  # what kind is the very question
        return {"type": type(error).__name__, "text": str(error)}
    return None


async def all_of(events):
    return [MessageToDict(event) async for event in events]


async def main():
    seen = {}
    async with httpx.AsyncClient(timeout=30, headers={"Authorization": f"Bearer {KEY}"}) as http:
        card = await A2ACardResolver(http, BASE).get_agent_card()
        seen["card"] = MessageToDict(card)
        streaming = ClientFactory(ClientConfig(httpx_client=http, streaming=True)).create(card)
        unary = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)

        events = await ask(streaming, "What is my profit?")
        seen["stream"], seen["stream_states"] = events, states(events)
        seen["send"] = await ask(unary, "What is my profit?")
        if not ECHO:
            await tasks(seen, streaming, unary)
    print(json.dumps(seen))


async def tasks(seen, streaming, unary):
    done = seen["send"][0]["task"]["id"]
    got = await unary.get_task(a2a.GetTaskRequest(id=done, history_length=1))
    seen["get"] = a2a.TaskState.Name(got.status.state)

    request = question("slowly please")
    request.configuration.return_immediately = True
    async for event in unary.send_message(request):
        started = event.task
    seen["immediate"] = a2a.TaskState.Name(started.status.state)
    events = []
    async for event in streaming.subscribe(a2a.SubscribeToTaskRequest(id=started.id)):
        events.append(MessageToDict(event))
        if len(events) == 2:
            cancelled = await unary.cancel_task(a2a.CancelTaskRequest(id=started.id))
            seen["cancel"] = a2a.TaskState.Name(cancelled.status.state)
    seen["subscribe_states"] = states(events)

    seen["errors"] = {
        "get_unknown": await failure(unary.get_task(a2a.GetTaskRequest(id="nope"))),
        "cancel_done": await failure(unary.cancel_task(a2a.CancelTaskRequest(id=done))),
        "subscribe_done": await failure(all_of(streaming.subscribe(a2a.SubscribeToTaskRequest(id=done)))),
    }


asyncio.run(asyncio.wait_for(main(), 60))
