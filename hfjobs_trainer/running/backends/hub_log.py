"""Follow a job's log to its end through broken streams, each line once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.running.backends.base import TERMINAL
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked, Failure

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# How often a finished job's log is read again when it comes shorter than what was shown already.
_LAST_READINGS = 3


class Transcript:
    """The lines of a log shown so far, to tell new ones apart in another stream or reading.

    Attributes:
        is_lost: Whether a stream began again where it cannot be followed: then only whole readings help.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._shown: list[str] = []
        self._at = 0

    def __len__(self) -> int:
        return len(self._shown)

    def begin_stream(self) -> None:
        """A stream begins, and is expected to replay the log from its first line."""
        self._at = 0

    def is_new(self, line: str) -> bool:
        """Whether the stream's next line was not shown yet; if so, it counts as shown from now on."""
        at, self._at = self._at, self._at + 1
        if at < len(self._shown):
            self.is_lost = self.is_lost or self._shown[at] != line
            return False
        self._shown.append(line)
        return True

    def find_new(self, log: list[str]) -> list[str]:
        """Lines of a whole reading that were not shown yet; they count as shown from now on."""
        new = self._missing_in(log)
        self._shown += new
        return new

    def _missing_in(self, log: list[str]) -> list[str]:
        shown = self._shown
        if log[: len(shown)] == shown:
            return log[len(shown) :]
        if shown[: len(log)] == log:
            return []  # cut short
        if log[0] == shown[0]:
            return _surplus(log, shown)  # a stream had left out lines in the middle
        # only the end of the log is kept: it continues after the longest part that was shown
        lengths = (n for n in range(min(len(log), len(shown)), 0, -1) if log[n - 1] == shown[-1])
        known = next((n for n in lengths if shown[-n:] == log[:n]), 0)
        return _surplus(log, shown) if not known and shown[-1] in log else log[known:]


def _surplus(log: list[str], shown: list[str]) -> list[str]:
    left = Counter(shown)
    new: list[str] = []
    for line in log:
        if left[line]:
            left[line] -= 1
        else:
            new.append(line)
    return new


def log_reader(namespace: str, name: str) -> Callable[[HfApi], list[str]]:
    """A request for the whole log so far."""
    return lambda api: list(api.fetch_job_logs(job_id=name, namespace=namespace))


def follow_log(connection: Connection, namespace: str, name: str, asked: Asked) -> Iterator[str]:
    """The lines of a log until the job has ended, each once.

    The client's stream may end early without a word, may leave lines out, and does not survive an HTTP error. Hence it
    is opened again while the job runs, and the finished job's log is read whole, until that brings nothing new.
    """
    transcript = Transcript()
    patience = connection.patience
    read = log_reader(namespace, name)
    has_ended = False
    failures = readings = 0
    while True:
        known = len(transcript)
        failure: Failure | None = None
        if has_ended or transcript.is_lost:
            reading = connection.attempt(read, patience.submission)
            failure = reading.failure
            if failure is None:
                log = reading.get()
                yield from transcript.find_new(log)
                readings = readings + 1 if len(transcript) == known else 0
                if has_ended and readings and (len(log) >= known or readings >= _LAST_READINGS):
                    return
        else:
            failure = yield from _stream(connection, transcript, namespace, name)
        if failure is None and not has_ended:
            looked = connection.attempt(lambda api: api.inspect_job(job_id=name, namespace=namespace).status.stage)
            failure = looked.failure
            has_ended = failure is None and looked.get() in TERMINAL
            readings = 0
        if failure is not None and not failure.is_transient:
            raise failure.explain(asked)
        failures = failures + 1 if failure is not None and len(transcript) == known else 0
        if failure is not None and failures > patience.reconnects:
            raise failure.explain(asked)
        if failure is not None or not has_ended:
            patience.wait(max(1, failures))


def _stream(
    connection: Connection, transcript: Transcript, namespace: str, name: str
) -> Generator[str, None, Failure | None]:
    transcript.begin_stream()
    api, token = connection.open()
    try:
        for line in api.fetch_job_logs(job_id=name, namespace=namespace, follow=True):
            if transcript.is_new(line):
                yield line
            if transcript.is_lost:
                break
    except Exception as error:
        return Failure.of(error, (token,))
    return None
