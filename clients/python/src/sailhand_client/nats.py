"""Sends commands over NATS. Needs `nats-py` (`pip install sailhand-client[nats]`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import nats
from nats.errors import ConnectionClosedError
from nats.js.api import DeliverPolicy
from nats.js.errors import NotFoundError

from ._command import Command, Sent
from ._types import ResultData


class NatsClient:
    """A client of the bus. `options` are those of `nats.connect`, such as `user`, `password` and `inbox_prefix`."""

    def __init__(self, servers: str | list[str], prefix: str = "istio", **options: Any):
        self._servers, self._prefix, self._options = servers, prefix, options

    async def __aenter__(self) -> NatsClient:
        self._connection = await nats.connect(self._servers, **self._options)
        self._js = self._connection.jetstream()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def send(self, command: Command) -> Sent:
        """Sends a command. Sending it again is the same command."""
        subject = f"{self._prefix}.cmd.{command.target}.{command.verb}"
        headers = {"Content-Type": "application/cloudevents+json", "Nats-Msg-Id": f"{command.target}.{command.key}"}
        ack = await self._js.publish(subject, json.dumps(command.event()).encode(), headers=headers)
        return Sent(command.target, command.key, command.id, bool(ack.duplicate))

    async def wait(self, sent: Sent, timeout: float) -> ResultData:
        """The result of a command, whatever its outcome. Raises `TimeoutError` after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            async with contextlib.aclosing(self._follow("RES", f"res.{sent.target}.{sent.key}")) as results:
                async for event in results:
                    return event["data"]
        raise TimeoutError(f"command {sent.key} on {sent.target} has no result")

    async def events(self, sent: Sent) -> AsyncIterator[dict[str, Any]]:
        """The events of a command from its start, then its result, as CloudEvents."""
        subject = f"evt.{sent.target}.{sent.key}.>"
        result = asyncio.ensure_future(anext(self._follow("RES", f"res.{sent.target}.{sent.key}")))
        messages = self._messages("EVT", subject)
        following, seen, last = None, 0, None
        try:
            while last is None or seen < last:
                following = following or asyncio.ensure_future(anext(messages))
                waited = {following} if last is not None else {following, result}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    message = following.result()
                    following, seen = None, message.metadata.sequence.stream
                    yield json.loads(message.data)
                elif last is None:
                    # A worker publishes no event after the result.
                    last = await self._last("EVT", subject)
            yield result.result()
        finally:
            tasks = [task for task in (following, result) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await messages.aclose()

    async def _last(self, stream: str, subject: str) -> int:
        try:
            return (await self._js.get_last_msg(self._stream(stream), f"{self._prefix}.{subject}")).seq or 0
        except NotFoundError:
            return 0

    async def _follow(self, stream: str, subject: str) -> AsyncIterator[dict[str, Any]]:
        async with contextlib.aclosing(self._messages(stream, subject)) as messages:
            async for message in messages:
                yield json.loads(message.data)

    async def _messages(self, stream: str, subject: str) -> AsyncIterator[Any]:
        subscription = await self._js.subscribe(
            f"{self._prefix}.{subject}",
            stream=self._stream(stream),
            ordered_consumer=True,
            deliver_policy=DeliverPolicy.ALL,
        )
        try:
            while True:
                yield await subscription.next_msg(timeout=None)
        finally:
            # A generator that is not closed explicitly ends later than the connection.
            with contextlib.suppress(ConnectionClosedError):
                await subscription.unsubscribe()

    def _stream(self, name: str) -> str:
        return f"{self._prefix.upper()}_{name}"
