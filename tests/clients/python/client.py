"""Sends the commands of ../commands.json over NATS and over HTTP, with the package of clients/python and with the SDK
`cloudevents`, and checks what comes back, also against the published schemas.

Prints one line per command, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
"""

import asyncio
import collections
import json
import os
import pathlib
import re
import sys
import urllib.request
import uuid

import nats
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from sailhand_client import Command, Sent
from sailhand_client.http import GatewayError, HttpClient
from sailhand_client.nats import NatsClient

import contract

CLIENT = "python"
PATIENCE = 120  # seconds until the result has to be there
COMMANDS = pathlib.Path(__file__).parent.parent / "commands.json"


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def reason(error):
    return (str(error) or type(error).__name__).splitlines()[0]


def sdk_event(command):
    """The command as an event of the SDK."""
    attributes = {name: value for name, value in command.event().items() if name != "data"}
    return CloudEvent(attributes=attributes, data=dict(command.params))


def nats_message(event, mode):
    """Headers and payload of the event in a content mode of the CloudEvents NATS binding."""
    if mode == "binary":
        http = to_binary(event, JSONFormat())  # the NATS binding has the HTTP one's header names and encoding
        return dict(http.headers), http.body
    return {}, JSONFormat().write(event)


async def send(client, js, command, mode):
    """Sends a command twice: with the typed client in structured mode, with the SDK in other modes."""
    if mode == "structured":
        sent = await client.send(command)
        check((await client.send(command)).duplicate, "the same command was taken twice")
        return sent
    headers, payload = nats_message(sdk_event(command), mode)
    headers["Nats-Msg-Id"] = f"{command.target}.{command.key}"
    subject = f"istio.cmd.{command.target}.{command.verb}"
    await js.publish(subject, payload, headers=headers)
    again = await js.publish(subject, payload, headers=headers)
    check(again.duplicate, "the same command was taken twice")
    return Sent(command.target, command.key, command.id, False)


def check_answers(wanted, command, events):
    """Checks the events of a command, the last of which is its result."""
    for event in events:
        contract.validator(event["type"]).validate(event["data"])
        check(event["commandid"] == command.id, f"commandid of {event['type']} is {event['commandid']!r}")
    result = events[-1]
    check(result["type"] == f"io.meshery.istio.result.{command.verb}.v1", f"type is {result['type']}")
    for name, value in {"commandkey": command.key, "correlationid": f"{CLIENT} clients"}.items():
        check(result.get(name) == value, f"{name} of the result is {result.get(name)!r}, not {value!r}")
    data = result["data"]
    for name in ("outcome", "changed", "report"):
        if name in wanted:
            check(data.get(name) == wanted[name], f"{name} is {data.get(name)!r}, not {wanted[name]!r}: {data}")
    kinds = collections.Counter(event["type"].split(".")[-2] for event in events[:-1])
    if wanted["outcome"] in ("succeeded", "cancelled"):
        check(events[0]["type"] == "io.meshery.istio.event.started.v1", f"the first event is {events[0]['type']}")
        for kind, count in wanted.get("events", {}).items():
            check(kinds[kind] >= count, f"{kinds[kind]} events of {kind}, not {count}")
    else:
        code = (data.get("error") or {}).get("code", "")
        check(re.fullmatch(r"SH\d{4}", code), f"the error has no code: {data}")


def new_command(target, wanted, source=f"urn:example:{CLIENT}"):
    return Command(
        verb=wanted["verb"],
        target=target,
        source=source,
        # A space, a percent sign and a letter outside ASCII: what percent-encoding of headers is for.
        id=f"{uuid.uuid4()} 100% ü",
        params=wanted["params"],
        correlation_id=f"{CLIENT} clients",
    )


async def run(client, js, target, wanted):
    command = new_command(target, wanted)
    sent = await send(client, js, command, wanted["mode"])
    events = []
    async with asyncio.timeout(PATIENCE):
        async for event in client.events(sent):
            events.append(event)
            if wanted.get("cancel") and event["type"].endswith(".started.v1"):
                await js.publish(f"$KV.istio_control.cancel.{command.key}", b"{}")
    check_answers(wanted, command, events)
    result = await client.wait(sent, timeout=PATIENCE)
    check(result == events[-1]["data"], "wait and events differ")


def sdk_post(url, token, command, mode):
    """Sends a command over HTTP as the SDK encodes it."""
    message = (to_binary if mode == "binary" else to_structured)(sdk_event(command), JSONFormat())
    headers = {**message.headers, "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{url}/v1/events", data=message.body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        accepted = json.load(response)
    return Sent(accepted["target"], accepted["key"], accepted["id"], accepted["duplicate"])


def run_http(target, wanted, how):
    """One command over HTTP: by the typed client, or by the SDK in one of its modes."""
    url, token = os.environ["SAILHAND_GATEWAY_URL"], os.environ["SAILHAND_GATEWAY_TOKEN"]
    client = HttpClient(url, token)
    command = new_command(target, wanted, f"/clients/{CLIENT}")
    sent = client.send(command) if how == "client" else sdk_post(url, token, command, how)
    check(sent.key == command.key, f"the key is {sent.key}, not {command.key}")
    check(client.send_all([command])[0].key == command.key, "the batch has another key")
    events = list(client.events(sent))
    check_answers(wanted, command, events)
    check(client.wait(sent, timeout=PATIENCE) == events[-1]["data"], "wait and events differ")


def run_refusals(target, wanted):
    url, token = os.environ["SAILHAND_GATEWAY_URL"], os.environ["SAILHAND_GATEWAY_TOKEN"]
    for bearer, params, code in ((token, {"eco": 1}, "SH1005"), ("0123456789abcdef-wrong", {}, "SH3804")):
        try:
            HttpClient(url, bearer).send(new_command(target, {**wanted, "params": params}, f"/clients/{CLIENT}"))
            check(False, f"{code} was expected")
        except GatewayError as error:
            check(error.code == code, f"{error.code} is not {code}")


async def main():
    target = os.environ["SAILHAND_TARGET"]
    failed = 0

    async def report(name, tried):
        nonlocal failed
        try:
            await tried
            print(f"ok {CLIENT}: {name}", flush=True)
        except Exception as error:  # whatever it is, the next command is tried
            failed += 1
            print(f"FAILED {CLIENT}: {name}: {reason(error)}", flush=True)

    commands = json.loads(COMMANDS.read_text("utf-8").replace("@client@", CLIENT))
    async with NatsClient(os.environ["SAILHAND_NATS_URL"]) as client:
        connection = await nats.connect(os.environ["SAILHAND_NATS_URL"])
        for wanted in commands:
            await report(wanted["name"], run(client, connection.jetstream(), target, wanted))
        await connection.close()
    ping = next(wanted for wanted in commands if wanted["verb"] == "ping")
    for how in ("client", "structured", "binary"):
        await report(f"HTTP, {how}", asyncio.to_thread(run_http, target, ping, how))
    await report("HTTP, refusals", asyncio.to_thread(run_refusals, target, ping))
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
