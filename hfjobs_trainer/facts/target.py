"""Facts about the repositories that a run would write to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """A repository that a run would write to; what is unknown is ``None``.

    Attributes:
        id: Its id.
        exists: Whether the Hub has it, and shows it to this token.
        holds: What it holds: of a model the names of its weights, of a Space those of all its files.
        sdk: Of a Space, what it is built with, such as ``"gradio"``.
        tags: Its tags.
        private: Whether it is private.
    """

    id: str
    exists: bool | None = None
    holds: tuple[str, ...] | None = None
    sdk: str | None = None
    tags: tuple[str, ...] = ()
    private: bool | None = None
