"""Commands as CloudEvents (docs/contract.md)."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

TYPE_PREFIX = "io.meshery.istio"


class Options(TypedDict, total=False):
    """Optional attributes of a command."""

    #: Identifies the command together with `source`. A random UUID by default.
    id: str
    #: The command is not started after this time.
    expires: datetime.datetime
    #: Later generations of an installation supersede earlier ones.
    generation: int
    #: Groups commands. The id by default.
    correlation_id: str
    #: W3C trace context.
    traceparent: str


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that has not been sent."""

    verb: str
    target: str
    source: str
    id: str
    params: Mapping[str, Any]
    expires: datetime.datetime | None = None
    generation: int | None = None
    correlation_id: str | None = None
    traceparent: str | None = None

    @property
    def key(self) -> str:
        """The first 32 hex digits of SHA-256 of source, line feed and id."""
        return hashlib.sha256(f"{self.source}\n{self.id}".encode()).hexdigest()[:32]

    def event(self) -> dict[str, Any]:
        """The CloudEvent in structured mode."""
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": f"{TYPE_PREFIX}.command.{self.verb}.v1",
            "subject": self.target,
            "datacontenttype": "application/json",
            "data": dict(self.params),
        }
        if self.expires is not None:
            if self.expires.tzinfo is None:
                raise ValueError("expires needs a time zone")
            event["expirytime"] = self.expires.isoformat()
        for name, value in (
            ("generation", self.generation),
            ("correlationid", self.correlation_id),
            ("traceparent", self.traceparent),
        ):
            if value is not None:
                event[name] = value
        return event


@dataclasses.dataclass(frozen=True)
class Sent:
    """A command that the bus has stored."""

    target: str
    key: str
    id: str
    #: The queue had the same command already.
    duplicate: bool


def build(verb: str, target: str, source: str, params: Mapping[str, Any], **options: Any) -> Command:
    """Builds a command. `commands` has a typed function for each verb."""
    options.setdefault("id", str(uuid.uuid4()))
    return Command(verb=verb, target=target, source=source, params=params, **options)
