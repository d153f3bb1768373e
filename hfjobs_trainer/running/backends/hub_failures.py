"""Errors of the Hub's client, stripped of secrets and put in the words of this package.

The client's own exceptions carry the request: its token, and the values of the secrets that it sends. They end here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, JobNotFound, QuotaError
from hfjobs_trainer.transient import http_status, is_transient, read_retry_after

TOKENS_PAGE = "https://huggingface.co/settings/tokens"
_BILLING_PAGE = "https://huggingface.co/settings/billing"
_MISSING_RIGHT = re.compile(r"missing permissions?: *([\w.]+(?: *, *[\w.]+)*)")
_SPEND_LIMIT = re.compile(r"spend\w* limit|limit\w* \w* ?spend", re.IGNORECASE)
_TEXT_LIMIT = 500
TOO_MANY = 429


class ClientError(Exception):
    """Stands for an exception of the Hub's client: its kind, HTTP status and message, and nothing that holds a secret.

    Attributes:
        kind: Name of the client's exception.
        status: HTTP status; ``None`` if there was no answer.
    """

    def __init__(self, kind: str, status: int | None, text: str) -> None:
        super().__init__(kind, status, text)
        self.kind = kind
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.kind, self.status, self.text) if part)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was being done.

    Attributes:
        doing: A verb and its object, such as ``"submit a job"``.
        permission: The right of a token that it takes.
        namespace: Whose job it is; ``None`` while unknown.
        job_id: The job; ``None`` if there is none.
        listed: The call that lists such jobs.
    """

    doing: str
    permission: str
    namespace: str | None = None
    job_id: str | None = None
    listed: str = "hft.jobs()"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request to the Hub failed.

    Attributes:
        kind: Name of the client's exception.
        status: HTTP status; ``None`` if there was no answer.
        text: The error's text, without secrets.
        is_transient: Whether it may go away, so that a request that may be repeated should be.
        retry_after: How long the Hub asks to wait before the next request, seconds; ``None`` if it does not say.
        waited: How long was waited in all, since the Hub refused the request as one too many, seconds.
    """

    kind: str
    status: int | None
    text: str
    is_transient: bool
    retry_after: float | None = None
    waited: float = 0.0

    @classmethod
    def of(cls, error: Exception, hidden: Iterable[str] = ()) -> Failure:
        """Describe an exception of the client; ``hidden`` values are struck out of its text."""
        from huggingface_hub.errors import BucketBatchError, HfHubHTTPError

        text = str(error)
        if isinstance(error, HfHubHTTPError) and not isinstance(error, BucketBatchError):  # its text is the message
            text = error.server_message or ""
        return cls(
            kind=type(error).__name__,
            status=http_status(error),
            text=strike_out(_one_line(text), hidden),
            is_transient=is_transient(error),
            retry_after=read_retry_after(error.response.headers) if isinstance(error, HfHubHTTPError) else None,
        )

    @property
    def is_one_too_many(self) -> bool:
        """Whether the Hub refused the request for the number of requests (429), so that it was not carried out."""
        return self.status == TOO_MANY

    @property
    def is_refusal(self) -> bool:
        """Whether the Hub refused the request, so that it was not carried out; 408 only says that it waited."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 408

    def explain(self, asked: Asked) -> BackendError:
        """The exception of this package for it, with what to do about it."""
        where = f" in {asked.namespace!r}" if asked.namespace else ""
        said = f" The Hub says: {self.text}" if self.status and self.text else ""
        cause = ClientError(self.kind, self.status, self.text)
        if self.status == 401:
            text = f"the Hub does not accept this token, needed to {asked.doing}: log in with `hf auth login`, or set"
            return AuthError(f"{text} HF_TOKEN to a valid token of {TOKENS_PAGE}.{said}", cause)
        if self.status == 403:
            found = _MISSING_RIGHT.search(self.text)
            # of a resource group, says huggingface/hub-docs; in which words is not documented
            if not found and _SPEND_LIMIT.search(self.text):
                return QuotaError(f"cannot {asked.doing}{where}: a spending limit is reached.{said}", cause)
            right = found[1] if found else asked.permission
            text = f"the token may not {asked.doing}{where}: it lacks the permission {right}. Add it at"
            return AuthError(f"{text} {TOKENS_PAGE}, or use another token or namespace.{said}", cause)
        if self.status == 402:
            text = f"cannot {asked.doing}{where}: {asked.namespace!r} has no credits left. Add some at {_BILLING_PAGE}"
            return QuotaError(f"{text}.{said}", cause)
        if self.is_one_too_many:
            waited = f", also after {self.waited:.0f} s of waiting" if self.waited >= 1 else ""
            left = "some minutes" if self.retry_after is None else f"{self.retry_after:.0f} s"
            text = f"cannot {asked.doing}{where}: too many requests{waited}. Wait {left} and try again"
            return QuotaError(f"{text}.{said}", cause)
        if self.status == 404 and asked.job_id:
            text = (
                f"no job {asked.job_id!r}, or the token may not see it. Ids look like 'namespace/id'; list yours with"
            )
            return JobNotFound(f"{text} {asked.listed}.", cause)
        if self.is_transient:
            text = f"cannot {asked.doing}{where}: the Hub did not answer properly"
            return HubUnavailable(f"{text} ({cause}). Try again later; see https://status.huggingface.co", cause)
        return BackendError(f"cannot {asked.doing}{where}: {cause}", cause)


def strike_out(text: str, hidden: Iterable[str]) -> str:
    """The text with every one of the hidden values made unreadable, also as Python and JSON would quote them."""
    plain = [str(value) for value in hidden if value]
    forms = {form for value in plain for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _one_line(text: str) -> str:
    if "<html" in text.lower():
        return ""
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= _TEXT_LIMIT else line[:_TEXT_LIMIT] + "..."
