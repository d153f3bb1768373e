"""How long failures are waited out where a job goes on meanwhile: one rule for its status and for its log."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, JobNotFound, QuotaError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many failures in a row are waited out.

    Attributes:
        failures: Failures of all kinds, each after retries of its own.
        refusals: The refusal with which it ends: not this token, or no such job.
        seconds: How long refusals must have lasted to count. A single one may come from a server that is out of date.
    """

    failures: int = 30
    refusals: int = 1
    seconds: float = 0.0


class Outage:
    """Failures in a row of what is asked about a job that was seen before.

    Args:
        tolerance: How many are waited out.

    Attributes:
        failures: How many there were since the last success.
    """

    def __init__(self, tolerance: Tolerance) -> None:
        self.failures = 0
        self._tolerance = tolerance
        self._refusals = 0
        self._since = 0.0

    def end(self) -> None:
        """Something succeeded."""
        self.failures = self._refusals = 0

    def count(self, error: BackendError) -> None:
        """One more failure.

        Raises:
            BackendError: This one, where waiting does not help, or has not helped for long enough.
        """
        self.failures += 1
        if self.failures > self._tolerance.failures:
            raise error
        # of quotas, this is the one on requests: asking costs no credits
        if isinstance(error, (HubUnavailable, QuotaError)):
            return
        if not isinstance(error, (AuthError, JobNotFound)):
            raise error
        now = time.monotonic()
        self._since = self._since if self._refusals else now
        self._refusals += 1
        if self._refusals >= self._tolerance.refusals and now - self._since >= self._tolerance.seconds:
            raise error
