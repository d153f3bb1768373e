"""One request to the Hub: how long it is waited for, what is told meanwhile, and what became of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from hfjobs_trainer.running.backends.hub_failures import TOO_MANY, Failure
from hfjobs_trainer.running.outage import Tolerance
from hfjobs_trainer.running.time_limit import time_left
from hfjobs_trainer.told import tell

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

THREAD = "hfjobs-trainer-hub"
"""Name of the threads in which requests are made."""
SLOW = "the Hub has not answered yet"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the Hub is waited for. All times in seconds.

    Attributes:
        attempts: How often a request is made at most, the creation of a job too; refusals as one too many aside.
        pause: Wait before the second attempt; it doubles from one to the next.
        longest_pause: Longest of these waits.
        answer: Longest wait for an answer.
        submission: Longest wait for the upload of a script, which the client may repeat for over 4 minutes, and for the
            creation of a job.
        search: How long to look for a job whose creation got no answer, before it counts as not created.
        reconnects: How often in a row following a log, or waiting for a job's end, may fail.
        quota: How long a request is repeated that the Hub refuses as one too many (429): for the 5 minutes of its
            quotas, and some. Before each, it is waited for as long as the Hub asks to; where that is longer than what
            is left, not at all.
        notice: What is waited for longer than this is told, in one line.
        farewell: How long to look for a job whose creation was interrupted.
        total: Longest time for all requests of a submission, up to the last one that may create a job. An upload of
            local data has more, by its size.
        aftermath: Longest time to look for a job whose creation got no answer, and to cancel what is not wanted.
        refusals: How many refusals in a row, once they lasted ``refused``, end a wait or a followed log of a job that
            was seen before.
        refused: See ``refusals``.
        look: How often the job's status is looked at while its log is followed.
        silence: How long a stream may bring nothing at all, not even a keep-alive, before it is opened anew.
        quiet: How long a stream must bring no line to be taken for all that there is, if its job has ended or so far.
        settle: How long after a job's end lines may still come into its log.
        late: How long after a job's end its log is read again if it is not known to be whole.
    """

    attempts: int = 4
    pause: float = 1.0
    longest_pause: float = 10.0
    answer: float = 60.0
    submission: float = 360.0
    search: float = 15.0
    reconnects: int = 30
    quota: float = 330.0
    notice: float = 10.0
    farewell: float = 5.0
    total: float = 1200.0
    aftermath: float = 120.0
    refusals: int = 3
    refused: float = 60.0
    look: float = 10.0
    silence: float = 120.0
    quiet: float = 5.0
    settle: float = 10.0
    late: float = 60.0

    @property
    def tolerance(self) -> Tolerance:
        """Which failures are waited out while a job goes on."""
        return Tolerance(self.reconnects, self.refusals, self.refused)

    def wait(self, failures: int) -> None:
        """Wait, the longer the more failures in a row there were."""
        pause = min(self.longest_pause, self.pause * 2 ** min(failures - 1, 10))
        time.sleep(max(0.0, min(pause, time_left())))


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a request: ``failure`` is ``None`` if there is a value."""

    value: T | None = None
    failure: Failure | None = None
    timed_out: bool = False

    def get(self) -> T:
        """The value, once it is known that there is one."""
        return cast("T", self.value)


class Request(Generic[T]):
    """A request under way, in a thread of its own that nobody has to wait for.

    Args:
        work: Makes the request.
        hidden: Values that no message may show.

    Attributes:
        outcome: What became of it; ``None`` as long as it is under way.
        began: When it began, on the monotonic clock, seconds.
    """

    def __init__(self, work: Callable[[], T], hidden: tuple[str, ...]) -> None:
        self.outcome: Outcome[T] | None = None
        self.began = time.monotonic()

        def run() -> None:
            try:
                _have_too_many_told()
                self.outcome = Outcome(value=work())
            except Exception as error:
                self.outcome = Outcome(failure=Failure.of(error, hidden))
            except BaseException as error:  # what hf_xet raises when it panics
                self.outcome = Outcome(failure=Failure.of(RuntimeError(f"{type(error).__name__}: {error}"), hidden))

        self._thread = threading.Thread(target=run, daemon=True, name=THREAD)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether its outcome is known, waited for up to ``seconds``."""
        self._thread.join(max(0.0, seconds))
        return self.outcome is not None


class Waiting:
    """What is waited for one request in all its attempts, and whether that was told.

    Args:
        patience: How long the Hub is waited for.
        told: What is told once of an answer that does not come.
    """

    def __init__(self, patience: Patience, told: str) -> None:
        self._patience = patience
        self._told = told
        self._refusals = 0
        self._refused_at = math.inf

    @property
    def waited(self) -> float:
        """How long ago the Hub first refused the request as one too many, seconds."""
        return max(0.0, time.monotonic() - self._refused_at)

    def tell_once(self) -> None:
        """Tell that an answer does not come."""
        if self._told:
            tell(self._told)
        self._told = ""

    def wait_for_quota(self, failure: Failure) -> bool:
        """Wait before a request is made again that was one too many; ``False`` if that would take too long."""
        self._refused_at = min(self._refused_at, time.monotonic())
        waited, asked = self.waited, failure.retry_after
        left = min(self._patience.quota - waited, time_left() - self._patience.notice)
        if asked is None:
            # without a word of the Hub, all of the time is used
            seconds = min(self._patience.pause * 2**self._refusals, left)
            told = f"the Hub is asked again in {seconds:.0f} s (too many requests)"
        else:
            seconds = asked + min(1.0, self._patience.pause)  # it rounds down
            told = f"the Hub asks to wait {asked:.0f} s (too many requests)"
        if seconds > left or left <= 0:
            return False
        if seconds > self._patience.notice or waited <= self._patience.notice < waited + seconds:
            tell(told)
        time.sleep(seconds)
        self._refusals += 1
        return True


def _have_too_many_told() -> None:
    """Have the client tell us of a 429: of some requests it would wait itself, silently and as long as the Hub asks."""
    from huggingface_hub import get_session

    hooks = get_session().event_hooks["response"]
    if _raise_too_many not in hooks:
        hooks.append(_raise_too_many)


def _raise_too_many(response: httpx2.Response) -> None:
    from huggingface_hub.utils import hf_raise_for_status  # pyright: ignore[reportUnknownVariableType]

    # the client's session is that of the whole process
    if response.status_code == TOO_MANY and threading.current_thread().name == THREAD:
        response.read()
        hf_raise_for_status(response)
