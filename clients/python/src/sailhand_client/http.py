"""Sends commands to `sailhand gateway` (docs/http.md). Needs the standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ._command import Command, Sent
from ._types import ResultData

#: Longest `?wait=` of one request, seconds. Shorter than the idle time of usual proxies.
LONGEST_WAIT = 50.0
#: Delay before a repetition if the gateway does not ask for one, seconds.
REPEAT = 1.0
#: Errors of a connection that fails or ends within a response.
LOST = (OSError, http.client.HTTPException)


class GatewayError(Exception):
    """A refused request, as problem details (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None):
        super().__init__(f"{problem.get('code', status)}: {problem.get('detail') or problem.get('title') or status}")
        self.status = status
        #: Such as `SH3805`; its page is docs/errors/<code>.md.
        self.code: str = problem.get("code", "")
        self.remedy: str = problem.get("remedy", "")
        #: Seconds until a repetition may succeed; `None` if no repetition helps.
        self.retry_after = retry_after


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would send the token to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class HttpClient:
    """A client of one gateway. `token` is a bearer token, or a function that returns a current one."""

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str] | None = None,
        context: ssl.SSLContext | None = None,
    ):
        self.url = url.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def send(self, command: Command, timeout: float = 60.0) -> Sent:
        """Sends a command. Repeats while the gateway is not ready, which is safe, for at most `timeout` seconds."""
        body = json.dumps(command.event()).encode()
        return _sent(self._post("application/cloudevents+json", body, timeout))

    def send_all(self, commands: Iterable[Command], timeout: float = 60.0) -> list[Sent]:
        """Sends at most 500 commands in one request: all are valid, or none is sent."""
        body = json.dumps([command.event() for command in commands]).encode()
        kind = "application/cloudevents-batch+json"
        return [_sent(one) for one in self._post(kind, body, timeout)["commands"]]

    def state(self, sent: Sent, wait: float = 0.0) -> dict[str, Any]:
        """State of a command: `pending`, `running` or `ended`. Waits at most so many seconds for its end."""
        query = f"?wait={int(wait * 1000)}ms" if wait > 0 else ""
        with self._open("GET", f"{_path(sent)}{query}", timeout=wait + 30.0) as response:
            return json.load(response)

    def wait(self, sent: Sent, timeout: float) -> ResultData:
        """The result of a command, whatever its outcome. Raises `TimeoutError` after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                state = self.state(sent, wait=max(0.0, min(left, LONGEST_WAIT)))
                if state["state"] == "ended":
                    return state["result"]
                delay = 0.0
            except (GatewayError, *LOST) as error:
                delay = _delay(error)
            if time.monotonic() + delay >= end:
                raise TimeoutError(f"command {sent.key} on {sent.target} has no result after {timeout} s")
            time.sleep(delay)

    def events(self, sent: Sent) -> Iterator[dict[str, Any]]:
        """The events of a command from its start, then its result, as CloudEvents. Resumes a lost connection."""
        last = ""
        while True:
            delay = REPEAT
            try:
                headers = {"Last-Event-ID": last} if last else {}
                with self._open("GET", f"{_path(sent)}/events", headers=headers, timeout=60.0) as response:
                    for last, data in _read(response):
                        yield json.loads(data)
            except (GatewayError, *LOST) as error:
                delay = _delay(error)
            if last == "end":
                return
            time.sleep(delay)

    def _post(self, kind: str, body: bytes, timeout: float) -> Any:
        end = time.monotonic() + timeout
        while True:
            try:
                with self._open("POST", "/v1/events", {"Content-Type": kind}, body, timeout=30.0) as response:
                    return json.load(response)
            except (GatewayError, *LOST) as error:
                delay = _delay(error)
                if time.monotonic() + delay >= end:
                    raise
                time.sleep(delay)

    def _open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Any:
        request = urllib.request.Request(self.url + path, data=body, headers=dict(headers or {}), method=method)
        token = self._token() if callable(self._token) else self._token
        if token:
            request.add_header("Authorization", f"Bearer {token.strip()}")
        try:
            return self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise _error(error) from None


def _error(response: urllib.error.HTTPError) -> GatewayError:
    try:
        problem = json.loads(response.read(1 << 16))
    except ValueError:
        problem = {}
    after = response.headers.get("Retry-After", "")
    retry_after = float(after) if after.isdigit() else None
    if retry_after is None and response.status in (408, 429, 502, 503, 504):
        retry_after = REPEAT
    return GatewayError(response.status, problem if isinstance(problem, dict) else {}, retry_after)


def _delay(error: Exception) -> float:
    """Seconds before the repetition; raises errors that no repetition changes."""
    if not isinstance(error, GatewayError):
        return REPEAT  # no connection
    if error.retry_after is None:
        raise error
    return error.retry_after


def _path(sent: Sent) -> str:
    return f"/v1/commands/{sent.target}/{sent.key}"


def _sent(accepted: Mapping[str, Any]) -> Sent:
    return Sent(accepted["target"], accepted["key"], accepted["id"], accepted["duplicate"])


def _read(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Id and data of server-sent events."""
    event_id, data = "", []
    for line in lines:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            event_id = value
        elif name == "data":
            data.append(value)
        elif not name and not value and data:
            yield event_id, "\n".join(data)
            data = []
