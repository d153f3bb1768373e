"""One stream of server-sent events of the Hub, read in a thread of its own, which can be left at any time.

The client has such streams too, but no way to leave one that is silent; nor does it hand on the times of log lines.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self, cast

from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Failure

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

_JOINED = 5.0
"""Longest wait for the thread of a stream that was left, seconds; its socket is closed at once."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The Hub answers.

    Attributes:
        at: When, by its clock.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over.

    Attributes:
        failure: Why; ``None`` if the Hub ended it, or did not even send a keep-alive any more.
    """

    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """An event.

    Attributes:
        data: What it carries; text that is no JSON object is under ``"data"``.
    """

    data: dict[str, Any]


class EventStream:
    """A stream of events; a context that ends its thread and closes its connection.

    Args:
        connection: The Hub.
        path: What is asked for, such as ``"/api/jobs/me/687f911eaea852de79c4a50a/logs"``.
        silence: How long the Hub may send nothing at all, seconds: it sends a keep-alive every 30 s.

    Raises:
        AuthError: There is no token.
    """

    def __init__(self, connection: Connection, path: str, silence: float) -> None:
        self._api, self._token = connection.open()
        self._path, self._silence = path, silence
        self._arrived: queue.SimpleQueue[Opened | Sent | Ended] = queue.SimpleQueue()
        self._is_left = False
        self._response: httpx2.Response | None = None
        self._thread = threading.Thread(target=self._read, daemon=True, name="hfjobs-trainer-stream")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        if self._response is None:  # nothing has come yet: the thread ends once something does, or after the silence
            return
        with contextlib.suppress(Exception):
            found: socket.socket = self._response.extensions["network_stream"].get_extra_info("socket")
            socket.socket.shutdown(found, socket.SHUT_RDWR)  # wakes the thread; closing it would not
        self._thread.join(_JOINED)

    def take(self, seconds: float) -> Opened | Sent | Ended | None:
        """What came next; ``None`` if nothing comes within so many seconds."""
        try:
            return self._arrived.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def _read(self) -> None:
        import httpx2

        failure = None
        try:
            self._receive(self._api)
        except httpx2.ReadTimeout:
            pass
        except Exception as error:
            failure = Failure.of(error, (self._token,))
        self._arrived.put(Ended(failure))

    def _receive(self, api: HfApi) -> None:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # pyright: ignore[reportUnknownVariableType]

        url, headers = api.endpoint.rstrip("/") + self._path, build_hf_headers(token=api.token)
        with get_session().stream("GET", url, headers=headers, timeout=self._silence) as response:
            self._response = response
            if self._is_left:
                return
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            self._arrived.put(Opened(_time_of(response)))
            for line in _lines(response):
                if self._is_left:
                    return
                if line.startswith(b"data:"):
                    self._arrived.put(Sent(_parse(line.removeprefix(b"data:"))))


def _time_of(response: httpx2.Response) -> datetime:
    with contextlib.suppress(KeyError, ValueError):
        told = parsedate_to_datetime(response.headers["date"])
        return told if told.tzinfo else told.replace(tzinfo=UTC)
    return datetime.now(UTC)


def _lines(response: httpx2.Response) -> Iterator[bytes]:
    """Whole lines; those of the client also end where Unicode ends a line, such as U+2028 within a text."""
    rest = b""
    for part in response.iter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        yield from lines


def _parse(text: bytes) -> dict[str, Any]:
    told = text.decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError, RecursionError):
        data = json.loads(told)
        if isinstance(data, dict):
            return cast("dict[str, Any]", data)
    return {"data": told}
