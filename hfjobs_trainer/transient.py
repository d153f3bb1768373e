"""Which failures of a request are transient, for gathering and running.

Scripts stand alone, so they have their own definition in ``rendering/runtime/push.py``; a test keeps the two equal.
"""

from __future__ import annotations

import json
import re

# hf_xet raises ConnectionError for every error status, with the status in its text.
_STATUS_IN_TEXT = re.compile(r"\b([45]\d\d) [A-Z]")


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
