"""Requests to the Hub through its official client: bounded in time, repeated while that helps, silent about secrets."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from hfjobs_trainer.errors import AuthError
from hfjobs_trainer.running.backends.hub_failures import TOKENS_PAGE, Asked, ClientError, Failure
from hfjobs_trainer.running.outage import Tolerance

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
Json = Mapping[str, object]

THREAD = "hfjobs-trainer-hub"


class Secret(str):
    """A text that hides its value in tracebacks and pickles: unpickled, it is ``None``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _forget, ()


def _forget() -> None:
    """What a secret is once it is unpickled."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the Hub is waited for. All times in seconds.

    Attributes:
        attempts: How often a request is made at most, the creation of a job too.
        pause: Wait before the second attempt; it doubles from one to the next.
        longest_pause: Longest of these waits.
        answer: Longest wait for an answer.
        submission: Longest wait for the upload of a script, which the client may repeat for over 4 minutes, and for the
            creation of a job.
        search: How long to look for a job whose creation got no answer, before it counts as not created.
        reconnects: How often in a row following a log, or waiting for a job's end, may fail.
        refusals: How many refusals in a row end either, of a job that was seen before, once they lasted ``refused``.
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
        time.sleep(min(self.longest_pause, self.pause * 2 ** min(failures - 1, 10)))


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a request: ``failure`` is ``None`` if there is a value."""

    value: T | None = None
    failure: Failure | None = None
    timed_out: bool = False

    def get(self) -> T:
        """The value, once it is known that there is one."""
        return cast("T", self.value)


class NoToken(AuthError):
    """There is no token, so that the Hub was not asked."""


class Connection:
    """Who asks which Hub, and how patiently.

    Args:
        token: Hub token; ``None`` for the one of the environment or of ``hf auth login``.
        endpoint: Address of the Hub; ``None`` for the client's default.
        patience: How long the Hub is waited for.
    """

    def __init__(self, token: str | None, endpoint: str | None, patience: Patience) -> None:
        self.token = None if token is None else Secret(token)
        self.endpoint = endpoint
        self.patience = patience

    def read_token(self) -> Secret:
        """The token.

        Raises:
            NoToken: There is none.
            AuthError: It has characters that no request header can carry.
        """
        from huggingface_hub import get_token

        why: ClientError | None = None
        token = self.token
        if token is None:
            try:
                token = Secret(get_token() or "")
            except Exception as error:
                failure = Failure.of(error)
                why = ClientError(failure.kind, failure.status, failure.text)
        # as read from a file, a token ends in a line break
        token = Secret((token or "").strip())
        if not token:
            reason = f" ({why})" if why else ""
            raise NoToken(f"no Hugging Face token{reason}: log in with `hf auth login`, or set HF_TOKEN", why)
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise AuthError(
                "the Hugging Face token has spaces, line breaks or other characters that no token has: give the token"
                f" alone, as {TOKENS_PAGE} shows it"
            )
        return token

    def page_of(self, path: str) -> str:
        """Address of a page of the Hub."""
        from huggingface_hub import HfApi

        return f"{HfApi(endpoint=self.endpoint).endpoint.rstrip('/')}/{path}"

    def open(self) -> tuple[HfApi, Secret]:
        """The client and its token; made anew each time, since a login's token may be renewed in between."""
        from huggingface_hub import HfApi

        token = self.read_token()
        return HfApi(endpoint=self.endpoint, token=token), token

    def attempt(
        self, function: Callable[[HfApi], T], seconds: float | None = None, hidden: tuple[str, ...] = ()
    ) -> Outcome[T]:
        """Make a request once, in a thread that can be abandoned: the client has no time limit of its own.

        Args:
            function: Makes the request.
            seconds: Longest wait; ``None`` for that of an answer.
            hidden: Values that no message may show, beside the token.
        """
        api, token = self.open()
        seconds = self.patience.answer if seconds is None else seconds
        outcomes: list[Outcome[T]] = []

        def work() -> None:
            try:
                outcomes.append(Outcome(value=function(api)))
            except Exception as error:
                outcomes.append(Outcome(failure=Failure.of(error, (*hidden, token))))

        thread = threading.Thread(target=work, daemon=True, name=THREAD)
        thread.start()
        thread.join(seconds)
        if outcomes:
            return outcomes[0]
        late = TimeoutError(f"no answer within {seconds:g} s")
        return Outcome(failure=Failure.of(late), timed_out=True)

    def ask(
        self, function: Callable[[HfApi], T], seconds: float | None = None, *, repeat_late: bool = True
    ) -> Outcome[T]:
        """Make a request that may be repeated safely, until it succeeds or cannot.

        Args:
            function: Makes the request.
            seconds: Longest wait for each attempt; ``None`` for that of an answer.
            repeat_late: Whether to repeat it also after such a wait.
        """
        outcome = self.attempt(function, seconds)
        for failures in range(1, self.patience.attempts):
            if outcome.failure is None or not outcome.failure.is_transient or (outcome.timed_out and not repeat_late):
                break
            self.patience.wait(failures)
            outcome = self.attempt(function, seconds)
        return outcome

    def get(self, asked: Asked, function: Callable[[HfApi], T], seconds: float | None = None) -> T:
        """Like ``ask``, but raise what went wrong."""
        outcome = self.ask(function, seconds)
        if outcome.failure is not None:
            raise outcome.failure.explain(asked)
        return outcome.get()


def read_json(api: HfApi, path: str) -> Json:
    """The Hub's own answer to a question, for what the client's records leave out."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # pyright: ignore[reportUnknownVariableType]

    response = get_session().get(api.endpoint.rstrip("/") + path, headers=build_hf_headers(token=api.token))
    hf_raise_for_status(response)
    return cast(Json, response.json())


@contextmanager
def without_progress_bars() -> Generator[None]:
    """Keep the client's progress bars off the screen; it cannot where HF_HUB_DISABLE_PROGRESS_BARS=0 asks for them."""
    from huggingface_hub.utils import disable_progress_bars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns in that case
        quiet = disable_progress_bars()
    with quiet:
        yield


@contextmanager
def without_request_bodies() -> Generator[None]:
    """Keep the client's debug lines about our requests out of the logs: with HF_DEBUG=1 they hold values of secrets."""
    import huggingface_hub.hf_api as _  # noqa: F401 - has its loggers exist

    def is_harmless(record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or record.threadName != THREAD

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "huggingface_hub"]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(is_harmless)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_harmless)
