"""Requests to the Hub through its official client: bounded in time, repeated while that helps, silent about secrets."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from hfjobs_trainer.errors import AuthError
from hfjobs_trainer.running.backends.hub_failures import TOKENS_PAGE, Asked, ClientError, Failure
from hfjobs_trainer.running.backends.hub_request import SLOW, THREAD, Outcome, Patience, Request, Waiting
from hfjobs_trainer.running.time_limit import time_left

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
Json = Mapping[str, object]

_STEP = 0.2
"""How often it is looked which of two answers has come, seconds."""


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
        self,
        function: Callable[[HfApi], T],
        seconds: float | None = None,
        hidden: tuple[str, ...] = (),
        *,
        told: str = SLOW,
        meanwhile: Callable[[HfApi], T | None] | None = None,
    ) -> Outcome[T]:
        """Make a request once; one that the Hub refuses as one too many was not carried out, and is made again.

        Args:
            function: Makes the request.
            seconds: Longest wait for an answer; ``None`` for that of an answer.
            hidden: Values that no message may show, beside the token.
            told: What is told once, if the answer takes longer than ``Patience.notice``.
            meanwhile: Looks from then on, now and then, whether what was asked for is there without an answer.
        """
        return self._attempt(function, seconds, hidden, Waiting(self.patience, told), meanwhile)

    def _attempt(
        self,
        function: Callable[[HfApi], T],
        seconds: float | None,
        hidden: tuple[str, ...],
        waiting: Waiting,
        meanwhile: Callable[[HfApi], T | None] | None = None,
    ) -> Outcome[T]:
        longest = self.patience.answer if seconds is None else seconds
        while True:
            if time_left() < min(longest, self.patience.notice):
                # one that is given up at once would leave open what became of it
                return _late(self.patience.total, "for all requests together")
            seconds = min(longest, time_left())
            request = self.begin(function, hidden)
            if not request.wait(min(seconds, self.patience.notice)):
                waiting.tell_once()
            outcome = self._see_to(request, seconds, meanwhile)
            failure = outcome.failure
            if failure is None or not failure.is_one_too_many:
                return outcome
            if not waiting.wait_for_quota(failure):
                return Outcome(failure=replace(failure, waited=waiting.waited))

    def begin(self, function: Callable[[HfApi], T], hidden: tuple[str, ...] = ()) -> Request[T]:
        """Make a request in a thread that can be abandoned: the client has no time limit of its own."""
        api, token = self.open()
        return Request(lambda: function(api), (*hidden, token))

    def glance(self, function: Callable[[HfApi], T], seconds: float) -> Outcome[T]:
        """Make a request once, without a word, whatever comes of it.

        Args:
            function: Makes the request, which may be left undone.
            seconds: Longest wait.
        """
        request = self.begin(function)
        request.wait(min(seconds, time_left()))
        return request.outcome or _late(seconds)

    def _see_to(self, request: Request[T], seconds: float, meanwhile: Callable[[HfApi], T | None] | None) -> Outcome[T]:
        """The outcome of a request that has begun, waited for up to ``seconds``."""
        deadline = request.began + seconds
        while request.outcome is None:
            if (left := deadline - time.monotonic()) <= 0:
                return _late(seconds)
            if meanwhile is not None:
                look = self.begin(meanwhile)
                while not (look.wait(min(_STEP, left)) or request.wait(0)) and time.monotonic() < deadline:
                    pass
                if look.outcome is not None and look.outcome.value is not None:
                    return Outcome(value=look.outcome.value)
            request.wait(min(self.patience.longest_pause, deadline - time.monotonic()))
        return request.outcome

    def ask(
        self,
        function: Callable[[HfApi], T],
        seconds: float | None = None,
        *,
        repeat_late: bool = True,
        told: str = SLOW,
    ) -> Outcome[T]:
        """Make a request that may be repeated safely, until it succeeds or cannot.

        Args:
            function: Makes the request.
            seconds: Longest wait for each attempt; ``None`` for that of an answer.
            repeat_late: Whether to repeat it also after such a wait.
            told: What is told once, if that takes longer than ``Patience.notice``.
        """
        waiting = Waiting(self.patience, told)
        outcome = self._attempt(function, seconds, (), waiting)
        for failures in range(1, self.patience.attempts):
            failure = outcome.failure
            is_settled = failure is None or not failure.is_transient or failure.is_one_too_many
            if is_settled or (outcome.timed_out and not repeat_late) or time_left() <= 0:
                break
            self.patience.wait(failures)
            outcome = self._attempt(function, seconds, (), waiting)
        return outcome

    def get(self, asked: Asked, function: Callable[[HfApi], T], seconds: float | None = None) -> T:
        """Like ``ask``, but raise what went wrong."""
        outcome = self.ask(function, seconds)
        if outcome.failure is not None:
            raise outcome.failure.explain(asked)
        return outcome.get()


def _late(seconds: float, more: str = "") -> Outcome[Any]:
    told = " ".join(filter(None, [f"no answer within {seconds:.3g} s", more]))
    return Outcome(failure=Failure.of(TimeoutError(told)), timed_out=True)


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
