from __future__ import annotations

import time
from datetime import UTC, datetime


def iso(seconds: float | None = None) -> str:
    """A time, or now, as the Hub writes it: UTC with milliseconds."""
    seconds = time.time() if seconds is None else seconds
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{int(seconds * 1000) % 1000:03d}Z"
