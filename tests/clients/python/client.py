"""Sends the commands of ../commands.json with `cloudevents` and `nats-py`, and checks what comes back on the bus,
also against the published schemas.

Prints one line per command, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
"""

import asyncio
import hashlib
import json
import os
import pathlib
import re
import sys
import uuid

import nats
from cloudevents.core.bindings.http import to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from nats.js.api import DeliverPolicy

import contract

CLIENT = "python"
PATIENCE = 120  # seconds until the result has to be there
COMMANDS = pathlib.Path(__file__).parent.parent / "commands.json"


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def reason(error):
    return (str(error) or type(error).__name__).splitlines()[0]


def message_of(event, mode):
    """Headers and payload of the event in a content mode of the CloudEvents NATS binding."""
    if mode == "binary":
        http = to_binary(event, JSONFormat())  # the NATS binding has the HTTP one's header names and encoding
        return dict(http.headers), http.body
    headers = {"Content-Type": "application/cloudevents+json"} if mode == "structured" else {}
    return headers, JSONFormat().write(event)


def read_event(message):
    content_type = (message.headers or {}).get("Content-Type")
    check(content_type == "application/cloudevents+json", f"Content-Type is {content_type!r}")
    event = JSONFormat().read(CloudEvent, message.data)
    contract.validator(event.get_type()).validate(event.get_data())
    return event


async def first(js, stream, subject):
    """The first message of the subject, whether it is there already or comes later."""
    return (await messages(js, stream, subject, 1))[0]


async def messages(js, stream, subject, count):
    """The first messages of the subject, whether they are there already or come later."""
    subscription = await js.subscribe(
        subject, stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
    )
    try:
        return [await subscription.next_msg(timeout=PATIENCE) for _ in range(count)]
    finally:
        await subscription.unsubscribe()


async def run(js, target, command):
    source = f"urn:example:{CLIENT}"
    # A space, a percent sign and a letter outside ASCII: what percent-encoding of headers is for.
    command_id = f"{uuid.uuid4()} 100% ü"
    key = hashlib.sha256(f"{source}\n{command_id}".encode()).hexdigest()[:32]
    event = CloudEvent(
        attributes={
            "id": command_id,
            "source": source,
            "type": f"io.meshery.istio.command.{command['verb']}.v1",
            "specversion": "1.0",
            "subject": target,
            "datacontenttype": "application/json",
            "correlationid": f"{CLIENT} clients",
        },
        data=command["params"],
    )
    headers, payload = message_of(event, command["mode"])
    headers["Nats-Msg-Id"] = f"{target}.{key}"
    subject = f"istio.cmd.{target}.{command['verb']}"
    await js.publish(subject, payload, headers=headers)
    again = await js.publish(subject, payload, headers=headers)
    check(again.duplicate, "the same command was taken twice")
    if command.get("cancel"):
        await first(js, "ISTIO_EVT", f"istio.evt.{target}.{key}.started")
        await js.publish(f"$KV.istio_control.cancel.{key}", b"{}")

    result = read_event(await first(js, "ISTIO_RES", f"istio.res.{target}.{key}"))
    check(result.get_type() == f"io.meshery.istio.result.{command['verb']}.v1", f"type is {result.get_type()}")
    data = result.get_data()
    for name, wanted in {"commandid": command_id, "commandkey": key, "correlationid": f"{CLIENT} clients"}.items():
        found = result.get_attributes().get(name)
        check(found == wanted, f"{name} of the result is {found!r}, not {wanted!r}")
    for name in ("outcome", "changed", "report"):
        if name in command:
            check(data.get(name) == command[name], f"{name} is {data.get(name)!r}, not {command[name]!r}: {data}")
    if command["outcome"] in ("succeeded", "cancelled"):
        started = read_event(await first(js, "ISTIO_EVT", f"istio.evt.{target}.{key}.>"))
        check(started.get_type() == "io.meshery.istio.event.started.v1", f"the first event is {started.get_type()}")
        check(started.get_attributes().get("commandid") == command_id, "commandid of the event differs")
        for kind, count in command.get("events", {}).items():
            for message in await messages(js, "ISTIO_EVT", f"istio.evt.{target}.{key}.{kind}", count):
                event = read_event(message)
                check(event.get_type() == f"io.meshery.istio.event.{kind}.v1", f"an event is {event.get_type()}")
                check(event.get_attributes().get("commandid") == command_id, f"commandid of {kind} differs")
    else:
        code = (data.get("error") or {}).get("code", "")
        check(re.fullmatch(r"SH\d{4}", code), f"the error has no code: {data}")


async def main():
    target = os.environ["SAILHAND_TARGET"]
    connection = await nats.connect(os.environ["SAILHAND_NATS_URL"])
    js = connection.jetstream()
    failed = 0
    for command in json.loads(COMMANDS.read_text("utf-8").replace("@client@", CLIENT)):
        name = f"{CLIENT}: {command['name']}"
        try:
            await run(js, target, command)
            print(f"ok {name}", flush=True)
        except Exception as error:  # whatever it is, the next command is tried
            failed += 1
            print(f"FAILED {name}: {reason(error)}", flush=True)
    await connection.close()
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
