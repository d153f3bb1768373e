"""Whose token it is, and what the Hub offers to rent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.hardware.catalogue import parse_live, snapshot
from hfjobs_trainer.running.backends.hub_failures import Asked

if TYPE_CHECKING:
    from hfjobs_trainer.facts import HardwareFacts
    from hfjobs_trainer.running.backends.hub_connection import Connection

_OWNERS = Answers()
"""Owners of tokens, by endpoint and token."""


def owner_of_token(connection: Connection) -> str:
    """The user whose token it is; asked for once, since the Hub limits the rate of that request.

    Raises:
        BackendError: The Hub does not say it.
    """
    key = (connection.endpoint, fingerprint(connection.read_token()))
    owner = _OWNERS.find(key)
    if owner is None:
        asked = Asked("look up the token's owner", "user.read")
        owner = connection.get(asked, lambda api: str(cast("Any", api).whoami()["name"]))
        _OWNERS.keep(key, owner)
    return str(owner)


def offered(connection: Connection) -> HardwareFacts:
    """The flavors with their prices: the Hub's, or those of the dated snapshot if it does not answer."""
    asked = Asked("read the prices", "job.read")
    with contextlib.suppress(BackendError):
        return parse_live(connection.get(asked, lambda api: [*api.list_jobs_hardware()]))
    return snapshot()
