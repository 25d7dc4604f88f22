"""Sends commands to sailhand and reads their events and results.

`commands` has a function for each verb. `http.HttpClient` sends to `sailhand gateway`, `nats.NatsClient` to NATS.
"""

from ._command import Command, Options, Sent
from ._types import ResultData

__all__ = ["Command", "Options", "ResultData", "Sent"]
