"""Which failures of a request are transient, for gathering and running.

Scripts stand alone, so they have their own definition in ``rendering/runtime/push.py``; a test keeps the two equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# hf_xet raises ConnectionError for every error status, with the status in its text.
_STATUS_IN_TEXT = re.compile(r"\b([45]\d\d) [A-Z]")
# "api";r=0;t=55 of the header RateLimit: no request is left, and 55 seconds until there are some
_NONE_LEFT = re.compile(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)")


def is_transient_status(status: int) -> bool:
    """Whether an HTTP status may go away: a server error, a timeout, or too many requests."""
    return status >= 500 or status in (408, 425, 429)


def is_transient(error: Exception) -> bool:
    """Whether an error of the Hub's client may go away: such a status, no answer, or an unreadable one."""
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return False
    status = http_status(error)
    if status is not None:
        return is_transient_status(status)
    # a broken answer surfaces only when it is parsed
    broken = (json.JSONDecodeError, UnicodeDecodeError, KeyError)
    return isinstance(error, (httpx2.HTTPError, ConnectionError, TimeoutError, *broken))


def http_status(error: Exception) -> int | None:
    """The HTTP status with which the Hub answered; ``None`` without an answer."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code
    if isinstance(error, ConnectionError) and not isinstance(error, OfflineModeIsEnabled):
        found = _STATUS_IN_TEXT.search(str(error))
        return int(found[1]) if found else None
    return None


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """How long the headers of an answer ask to wait, seconds; ``None`` if they do not say.

    ``Retry-After`` has seconds or a date (RFC 9110), ``RateLimit`` what is left of a quota, and until when
    (draft-ietf-httpapi-ratelimit-headers-09, as the Hub sends it). The longer one counts.
    """
    found = {name.lower(): text for name, text in headers.items()}
    waits: list[float] = []
    if (none_left := _NONE_LEFT.search(found.get("ratelimit", ""))) is not None:
        waits.append(float(none_left[1]))
    after = found.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", after):
        waits.append(float(after))
    elif (until := _read_date(after)) is not None:
        now = _read_date(found.get("date", "")) or datetime.now(UTC)  # the Hub's clock, if it tells
        waits.append(max(0.0, (until - now).total_seconds()))
    return max(waits, default=None)


def _read_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
