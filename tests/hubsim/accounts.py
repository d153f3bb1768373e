"""Users, organizations, tokens and what each token may do."""

from __future__ import annotations

import hashlib
from typing import Any

from hubsim.routing import ApiError, route

REPO_RIGHTS = ["repo.content.read", "repo.write"]


def on_alice(*permissions: str) -> list[dict[str, Any]]:
    return [{"entity": {"name": "alice", "type": "user"}, "permissions": list(permissions)}]


USERS: dict[str, Any] = {"alice": {"canPay": True}, "bob": {"canPay": True}, "carol": {"canPay": False}}
ORGS: dict[str, Any] = {"acme": {"members": {"alice": "admin", "bob": "read"}, "canPay": True}}
TOKENS: dict[str, Any] = {
    "hf_alice_write": {"user": "alice", "role": "write"},
    "hf_alice_read": {"user": "alice", "role": "read"},
    "hf_alice_nojobs": {"user": "alice", "role": "fineGrained", "scoped": on_alice(*REPO_RIGHTS)},
    "hf_alice_norepos": {"user": "alice", "role": "fineGrained", "scoped": on_alice("job.write")},
    "hf_alice_useronly": {"user": "alice", "role": "fineGrained", "scoped": on_alice(*REPO_RIGHTS, "job.write")},
    "hf_bob_write": {"user": "bob", "role": "write"},
    "hf_carol_write": {"user": "carol", "role": "write"},
}
IMPLIED = {"repo.read": {"repo.content.read", "repo.write"}, "job.read": {"job.read", "job.write"}}


def object_id(name: str) -> str:
    """24 hex digits that stay the same for a name."""
    return hashlib.sha1(name.encode()).hexdigest()[:24]


class Accounts:
    """Who exists, and who may do what.

    Attributes:
        users, orgs, tokens: Plain dicts, free to change while the server runs.
    """

    def __init__(self, users: dict[str, Any], orgs: dict[str, Any], tokens: dict[str, Any]) -> None:
        self.users = users
        self.orgs = orgs
        self.tokens = tokens

    def identify(self, name: str) -> dict[str, Any]:
        return {"id": object_id(name), "name": name}

    def owner(self, namespace: str) -> dict[str, Any]:
        kind = "org" if namespace in self.orgs else "user"
        return {**self.identify(namespace), "type": kind, "avatarUrl": f"/avatars/{namespace}.svg"}

    def allows(self, token: dict[str, Any] | None, permission: str, namespace: str) -> bool:
        """Whether the token's owner has the permission in the namespace, and the token carries it."""
        if token is None:
            return False
        user = token["user"]
        role = "admin" if namespace == user else self.orgs.get(namespace, {}).get("members", {}).get(user)
        if role is None or (permission.endswith(".write") and role in ("read", "no_access")):
            return False
        if token["role"] != "fineGrained":
            return token["role"] == "write" or permission.endswith(".read")
        scopes = [scope for scope in token.get("scoped", []) if scope["entity"]["name"] == namespace]
        granted = {permission for scope in scopes for permission in scope["permissions"]}
        return bool(granted & IMPLIED.get(permission, {permission}))

    def can_pay(self, namespace: str) -> bool:
        account = self.users.get(namespace) or self.orgs.get(namespace) or {}
        return bool(account.get("canPay", False))


@route("GET", "/api/whoami-v2")
def whoami(h: Any) -> None:
    if h.token is None:
        raise ApiError(401, "Invalid username or password.")
    accounts, user, token = h.hub.accounts, h.token["user"], h.token
    orgs = [
        {
            "type": "org",
            **accounts.identify(name),
            "fullname": name,
            "email": None,
            "canPay": org.get("canPay", False),
            "periodEnd": None,
            "avatarUrl": f"/avatars/{name}.svg",
            "roleInOrg": org["members"][user],
        }
        for name, org in accounts.orgs.items()
        if user in org.get("members", {})
    ]
    access: dict[str, Any] = {
        "displayName": f"{user}-token",
        "role": token["role"],
        "createdAt": "2026-01-01T00:00:00.000Z",
    }
    if token["role"] == "fineGrained":
        scoped = [{**s, "entity": {"_id": object_id(s["entity"]["name"]), **s["entity"]}} for s in token["scoped"]]
        access["fineGrained"] = {
            "scoped": scoped,
            "canReadGatedRepos": token.get("canReadGatedRepos", False),
            "global": [],
        }
    answer = {
        "type": "user",
        **accounts.identify(user),
        "fullname": user.title(),
        "email": f"{user}@example.invalid",
        "emailVerified": True,
        "canPay": accounts.can_pay(user),
        "billingMode": "prepaid",
        "isPro": False,
        "periodEnd": None,
        "avatarUrl": f"/avatars/{user}.svg",
        "orgs": orgs,
        "auth": {"type": "access_token", "accessToken": access},
    }
    h.send(200, answer)
