"""Facts about the account that would run the job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """The account of the token; what is unknown is ``None``. The token itself is never kept.

    Attributes:
        has_token: Whether a token was found.
        name: User name of the token's owner.
        organizations: Names of the organizations of which the owner is a member.
        token_role: ``"write"``, ``"read"`` or ``"fineGrained"``.
        problem: Why the token could not be used, such as ``"the Hub does not accept this token"``.
    """

    has_token: bool | None = None
    name: str | None = None
    organizations: tuple[str, ...] | None = None
    token_role: str | None = None
    problem: str | None = None
