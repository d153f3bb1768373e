"""The log of a job, each line once, read to its end through broken streams, cut readings and lines that come late."""

from __future__ import annotations

import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from hfjobs_trainer.display import plural
from hfjobs_trainer.errors import BackendError, HubUnavailable
from hfjobs_trainer.running.backends.base import TERMINAL
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked
from hfjobs_trainer.running.backends.hub_nodes import RANK_LABEL
from hfjobs_trainer.running.backends.hub_stream import Ended, EventStream, Opened, Sent
from hfjobs_trainer.running.events import parse_event, visible_lines
from hfjobs_trainer.running.outage import Outage, Tolerance

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

STARTED = "===== Job started"
"""How the first line of a log begins, and of each attempt: the Hub's own, which is not shown."""
CLOSING = frozenset({"end", "stopped", "failed", "smoke"})
"""Events with which a script ends."""
_AFTER_LAST = 0.5
"""How long a reading that has come to the last line may be silent, seconds."""
_GLANCE = 0.5
"""How often it is looked whether the reader was left, seconds."""
_FEW = 3
"""How many readings of a log there are at least before it is given up."""


class Entry(NamedTuple):
    """A line of the log, with its time by the Hub's clock."""

    at: str
    text: str

    @property
    def is_shown(self) -> bool:
        """Whether it is the job's own."""
        return not self.text.startswith(STARTED)

    @property
    def seconds(self) -> float:
        """Its time since the epoch; 0 if the Hub does not say."""
        try:
            return datetime.fromisoformat(self.at).timestamp()
        except ValueError:
            return 0.0


class Transcript:
    """The lines of a log shown so far, to tell new ones apart in another stream or reading.

    They are known by time and text: of each, a replay has as many as were shown, or fewer if it is a part of the log.
    """

    def __init__(self) -> None:
        self._shown: Counter[int] = Counter()
        self._replayed: Counter[int] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def begin(self) -> None:
        """A stream or reading begins."""
        self._replayed.clear()

    def is_new(self, entry: object) -> bool:
        """Whether the next line was not shown yet; if so, it counts as shown from now on."""
        key = hash(entry)
        self._replayed[key] += 1
        if self._replayed[key] <= self._shown[key]:
            return False
        self._shown[key] += 1
        self._length += 1
        return True


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a log is not known to be whole.

    Attributes:
        why: In words; empty if nothing speaks against it, but it is early.
        until: How long to look again, by the monotonic clock.
    """

    why: str
    until: float


class LogReader:
    """Reads the log of one job.

    Args:
        connection: The Hub.
        namespace: Whose job it is.
        name: Its id within the namespace.
        left: Set, from any thread, once nobody reads any more.

    Attributes:
        incomplete: Why lines may be missing in what was read; ``None`` if none are.
    """

    def __init__(self, connection: Connection, namespace: str, name: str, left: threading.Event) -> None:
        self.incomplete: str | None = None
        self._connection, self._patience = connection, connection.patience
        self._namespace, self._name, self._left = namespace, name, left
        self._asked = Asked("read the job's log", "job.read", namespace, f"{namespace}/{name}")
        self._job: JobInfo | None = None
        self._ended_since = 0.0
        self._transcript = Transcript()
        # of the stream or reading at hand
        self._last: Entry | None = None
        self._has_begun = self._has_come = False
        self._kinds: set[str] = set()  # events of the last attempt
        # of all of them
        self._newest = 0.0
        self._readings = self._agreed = 0
        self._first_reading = 0.0
        self._clock = (datetime.now(UTC), time.monotonic())  # the Hub's, and when it said so

    def follow(self) -> Generator[str]:
        """The lines until the job has ended."""
        yield from self._persist(self._to_the_end, self._patience.tolerance)

    def read(self) -> Generator[str]:
        """The lines so far; those of a job that has ended, to the end."""
        most = self._patience.attempts
        yield from self._persist(self._so_far, Tolerance(most, most))

    # -- what is asked again after failures

    def _persist(self, step: Callable[[Outage], Iterable[str]], tolerance: Tolerance) -> Generator[str]:
        outage = Outage(tolerance)
        while not self._left.is_set():
            known = len(self._transcript)
            try:
                yield from step(outage)
            except BackendError as error:
                if len(self._transcript) > known:
                    outage.end()
                outage.count(error)
                self._wait(outage.failures)
            else:
                return

    def _to_the_end(self, outage: Outage) -> Generator[str]:
        self._look_once(outage)
        idle = 0
        while not self._has_ended and not self._left.is_set():
            known = len(self._transcript)
            yield from self._stream(outage)
            idle = idle + 1 if len(self._transcript) == known else 1
            if not self._has_ended and not self._left.is_set():
                self._look(outage)
            if not self._has_ended:
                self._wait(idle)
        yield from self._finish()

    def _so_far(self, outage: Outage) -> Generator[str]:
        self._look_once(outage)
        if self._has_ended:
            yield from self._finish()
            return
        if self._never_ran:
            return
        for attempt in range(1, self._patience.attempts + 1):
            if attempt > 1:
                self._wait(attempt - 1)
            last = self._read_last()
            yield from self._read_until(last)
            self.incomplete = None
            is_empty = last is None and self._last is None and (self._has_begun or attempt > 1)
            if self._left.is_set() or is_empty or self._has_come:
                return
            self.incomplete = f"the Hub sent it cut short {plural(attempt, 'time')}"

    def _wait(self, times: int) -> None:
        self._left.wait(min(self._patience.longest_pause, self._patience.pause * 2 ** min(times - 1, 10)))

    # -- the job

    @property
    def _has_ended(self) -> bool:
        return self._job is not None and self._job.status.stage in TERMINAL

    def _look_once(self, outage: Outage) -> None:
        if self._job is None:
            self._look(outage)

    def _look(self, outage: Outage) -> None:
        looked = self._connection.attempt(lambda api: api.inspect_job(job_id=self._name, namespace=self._namespace))
        if looked.failure is not None:
            raise looked.failure.explain(self._asked)
        self._job = looked.get()
        if self._has_ended:
            self._ended_since = self._ended_since or time.monotonic()
        outage.end()

    # -- streams and readings

    def _open(self, silence: float, tail: int | None = None) -> EventStream:
        path = f"/api/jobs/{self._namespace}/{self._name}/logs" + (f"?tail={tail}" if tail else "")
        return EventStream(self._connection, path, silence)

    def _stream(self, outage: Outage) -> Generator[str]:
        """The lines of a stream until it is over, or the job has ended and nothing comes any more."""
        patience = self._patience
        self._begin()
        with self._open(patience.silence) as stream:
            heard = looked = time.monotonic()
            while not self._left.is_set():
                came = stream.take(min(_GLANCE, patience.look, patience.quiet))
                if isinstance(came, Ended):
                    if came.failure is not None:
                        raise came.failure.explain(self._asked)
                    return
                if isinstance(came, Sent):
                    yield from self._show(_entry(came))
                    outage.end()
                    heard = time.monotonic()
                elif self._has_ended and time.monotonic() - heard >= patience.quiet:
                    return
                elif not self._has_ended and time.monotonic() - looked >= patience.look:
                    try:
                        self._look(outage)
                    except BackendError as error:
                        outage.count(error)
                    heard = looked = time.monotonic()

    def _begin(self) -> None:
        self._transcript.begin()
        self._last, self._has_begun = None, False
        self._kinds.clear()

    def _show(self, entry: Entry) -> Iterable[str]:
        """What is to be seen of the next line, if it was not shown yet."""
        self._has_begun = True
        if not entry.is_shown:
            self._kinds.clear()
            return ()
        self._last, self._newest = entry, max(self._newest, entry.seconds)
        if (event := parse_event(entry.text)) is not None:
            self._kinds.add(event.kind)
        return visible_lines(entry.text) if self._transcript.is_new(entry) else ()

    def _read_last(self) -> Entry | None:
        """The last line that the Hub has; ``None`` if it has none."""
        last = None
        for entry in self._read(lambda entry: entry.is_shown, tail=1):
            last = entry if entry.is_shown else last
        return last

    def _read_until(self, last: Entry | None) -> Generator[str]:
        """What was not shown yet of a whole reading; notes whether it has come as far as this line."""
        self._begin()
        self._has_come = False
        for entry in self._read(lambda entry: entry == last):
            self._has_come = self._has_come or entry == last
            yield from self._show(entry)

    def _read(self, is_last: Callable[[Entry], bool], tail: int | None = None) -> Generator[Entry]:
        """The lines that there are: until the stream is over, or silent, or goes on with what was logged meanwhile."""
        patience = self._patience
        opened: datetime | None = None
        has_last = False
        with self._open(patience.silence, tail) as stream:
            heard = time.monotonic()
            while not self._left.is_set():
                came = stream.take(min(_GLANCE, patience.quiet))
                silent = time.monotonic() - heard
                if isinstance(came, Ended):
                    if came.failure is not None:
                        raise came.failure.explain(self._asked)
                    return
                if isinstance(came, Opened):
                    opened = came.at
                    self._clock = (came.at, time.monotonic())
                elif isinstance(came, Sent):
                    entry = _entry(came)
                    if opened is not None and entry.seconds > opened.timestamp() + 1:
                        return
                    yield entry
                    has_last = has_last or is_last(entry)
                elif opened is None:
                    if silent >= patience.answer:
                        raise HubUnavailable(f"cannot read the job's log: no answer within {patience.answer:g} s")
                elif silent >= (min(_AFTER_LAST, patience.quiet) if has_last else patience.quiet):
                    return
                heard = heard if came is None else time.monotonic()

    # -- the end

    def _finish(self) -> Generator[str]:
        """The rest of the log of a job that has ended, read again as long as lines may be missing."""
        patience = self._patience
        while not self._left.is_set():
            asked = time.monotonic()
            self._first_reading = self._first_reading or asked
            self._readings += 1
            last = self._read_last()
            if last != self._last or last is None:
                yield from self._read_until(last)
            is_known = last is not None or self._has_begun or self._never_ran
            agrees = is_known and last == self._last and self._newest <= (last.seconds if last else 0.0)
            self._agreed = self._agreed + 1 if agrees else 0
            missing = self._missing(asked)
            if missing is None or missing.until <= asked:
                self.incomplete = None if missing is None else missing.why or None
                return
            pause = min(patience.longest_pause, patience.pause * 2 ** min(self._readings - 1, 10))
            self._left.wait(max(0.0, min(pause, missing.until - time.monotonic())))

    @property
    def _never_ran(self) -> bool:
        return self._job is not None and self._job.started_at is None

    def _missing(self, asked: float) -> Missing | None:
        """What speaks against the last reading, which began then; ``None`` if nothing does."""
        patience, job = self._patience, self._job
        late = asked + patience.late - self._age(asked)
        if not self._agreed:
            if not self._has_begun and not self._newest and self._readings >= _FEW:
                return Missing("the Hub has no line of it", late)
            taken = asked - self._first_reading
            why = f"the Hub sent it cut short {plural(self._readings, 'time')} in {taken:.0f} s"
            has_tried = self._readings >= _FEW  # who reads slowly may come late to the second reading
            return Missing(why, (self._first_reading if has_tried else asked) + patience.late)
        if self._never_ran or self._kinds & CLOSING:
            return None
        if self._last is None and self._agreed < 2:  # two readings may have been cut before their first line
            return Missing("", asked + patience.late)
        if job is not None and job.status.stage == "COMPLETED" and (is_ours(job) or "start" in self._kinds):
            return Missing("the job is COMPLETED, but the event with which its script ends is not there", late)
        return Missing("", asked + patience.settle - self._age(asked))

    def _age(self, now: float) -> float:
        """How long ago the job ended, by the Hub's clock, seconds."""
        known = now - self._ended_since
        if self._job is None or self._job.finished_at is None:
            return known
        told, then = self._clock
        return max(known, (told - self._job.finished_at).total_seconds() + now - then)


def tell_missing(job_id: str, readers: Mapping[int, LogReader]) -> str | None:
    """Warn of what may be missing in the log of a job, by the readers of its nodes; return it."""
    missing = {rank: reader.incomplete for rank, reader in readers.items() if reader.incomplete}
    why = "; ".join(f"node {rank}: {told}" if len(readers) > 1 else told for rank, told in missing.items())
    if why:
        warnings.warn(f"the log of job {job_id} may be incomplete: {why}", RuntimeWarning, stacklevel=4)
    return why or None


def is_ours(job: JobInfo) -> bool:
    """Whether a job runs a training of this package, as the first node: such a script tells its end."""
    labels = job.labels or {}
    is_training = "spec" in labels and labels.get("method", "script") != "script"  # a user's script may just exit
    return labels.get("sdk") == "hfjobs-trainer" and is_training and labels.get(RANK_LABEL, "0") == "0"


def _entry(sent: Sent) -> Entry:
    return Entry(str(sent.data.get("timestamp") or ""), str(sent.data.get("data") or ""))
