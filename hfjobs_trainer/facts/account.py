"""Facts about the account that would run the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_IMPLIED = {"repo.content.read": frozenset({"repo.content.read", "repo.write"})}
_READING = frozenset({"read", "no_access"})
"""Roles in an organization that write nothing (whoami-v2, ``roleInOrg``)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a fine-grained token may do in one place.

    Attributes:
        kind: ``"user"``, ``"org"``, or of one repository ``"model"``, ``"dataset"``, ``"space"``.
        name: The namespace or the repository.
        permissions: Such as ``"repo.write"`` and ``"job.write"``.
    """

    kind: str
    name: str
    permissions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """The account of the token; what is unknown is ``None``. The token itself is never kept.

    Attributes:
        has_token: Whether a token was found.
        name: User name of the token's owner.
        organizations: Names of the organizations of which the owner is a member.
        token_role: ``"write"``, ``"read"`` or ``"fineGrained"``.
        problem: Why the token could not be used, such as ``"the Hub does not accept this token"``.
        roles: The owner's role in each organization, such as ``"admin"`` or ``"read"``, where the Hub says.
        paying: Whether the Hub says of the owner, or of an organization, that it can pay; by name.
        scopes: What a fine-grained token may do; ``None`` for others.
        reads_gated: Whether a fine-grained token may read public gated repositories; ``None`` for others.
    """

    has_token: bool | None = None
    name: str | None = None
    organizations: tuple[str, ...] | None = None
    token_role: str | None = None
    problem: str | None = None
    roles: Mapping[str, str] | None = None
    paying: Mapping[str, bool] | None = None
    scopes: tuple[Scope, ...] | None = None
    reads_gated: bool | None = None

    def may(self, permission: str, namespace: str, repo: tuple[str, str] | None = None) -> bool | None:
        """Whether the token may do something in a namespace, or with one repository in it; ``None`` where unknown.

        Args:
            permission: Such as ``"job.write"``.
            namespace: The user or organization; case does not matter, as on the Hub.
            repo: Kind and name of the repository, ``"model"`` and ``"me/chat"``; by default it is about all of them.
        """
        if self.token_role is None or self.name is None or self.organizations is None:
            return None
        role = {org.lower(): role for org, role in (self.roles or {}).items()}.get(namespace.lower())
        if permission.endswith(".write") and (self.token_role == "read" or role in _READING):
            return False
        if self.token_role != "fineGrained":
            return True
        if self.scopes is None:
            return None
        kind, name = repo or ("user", namespace)
        places, kinds = {namespace.lower(), name.lower()}, {"user", "org", kind}
        granted = {
            each
            for scope in self.scopes
            if scope.name.lower() in places and scope.kind in kinds
            for each in scope.permissions
        }
        return not granted.isdisjoint(_IMPLIED.get(permission, {permission}))
