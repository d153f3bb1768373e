"""Names of those who speak in a conversation."""

from __future__ import annotations

from hfjobs_trainer.rendering.runtime import shapes

ROLES = frozenset(shapes.ROLES)
"""Roles that chat templates know."""
OF_SOME = frozenset(("function", "ipython", "model", "observation", "environment", "tool_response", "latest_reminder"))
"""Roles that the templates of some models know: Llama's ipython, Gemma's model, GLM's observation."""
OTHER_NAMES = {name: role for role, names in shapes.ROLES.items() for name in names.split() if name not in ROLES}
"""Other names of roles, each with the role."""


def role_of(name: object) -> str:
    """The role by the name that templates know; as it is, where none is meant."""
    known = name.strip().lower() if isinstance(name, str) else ""
    return OTHER_NAMES.get(known, known)
