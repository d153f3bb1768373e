"""What a run says that it pushed, looked for on the Hub from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked
from hfjobs_trainer.running.events import Event

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile, RepoFolder

# Names that a message lists at most.
_SHOWN = 5


def verify_push(events: Iterable[Event], connection: Connection) -> str | None:
    """What is not on the Hub of the models that a run pushed and audited.

    Asks once for each of them; what was pushed to a branch of a run that stopped early is passed over.

    Args:
        events: All events of the run.
        connection: Whom to ask.

    Returns:
        What is missing, and what to do; ``None`` if nothing is, or nothing was pushed.

    Raises:
        BackendError: The Hub did not answer, or this token may not ask: it is not known whether something is missing.
    """
    pushed: dict[str, Event] = {}
    for event in events:
        if event.kind == "audited" and event.data.get("branch") != "partial":
            pushed[str(event.data.get("repo"))] = event
    found = (_verify(repo, event.data, connection) for repo, event in pushed.items())
    return next((text for text in found if text), None)


def _verify(repo: str, told: Mapping[str, object], connection: Connection) -> str | None:
    commit, files = str(told.get("commit")), cast("Mapping[str, str]", told.get("files") or {})

    def look(api: HfApi) -> dict[str, str | None]:
        found = api.get_paths_info(repo, [*files], revision=commit)
        return {file.path: _digest(file) for file in found}

    outcome = connection.ask(look)
    start = f"the run pushed its model to {repo} at commit {commit[:12]}"
    if outcome.failure is not None:
        if outcome.failure.status != 404:
            raise outcome.failure.explain(Asked(f"look at {repo}", "repo.content.read", repo.split("/")[0]))
        what = "this commit" if "Revision" in outcome.failure.kind else "this repository"
        return f"{start}, but {what} is not on the Hub, or this token may not see it"
    there = outcome.get()
    wrong = sorted(name for name in files if there.get(name) != files[name])
    if not wrong:
        return None
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return f"{start}, but there these files are missing or other than it saved: {', '.join(wrong[:_SHOWN])}{more}"


def _digest(file: RepoFile | RepoFolder) -> str | None:
    """The digest by which the Hub knows a file: SHA-256 of a large one, git's of another."""
    lfs: Any = getattr(file, "lfs", None)
    return lfs.sha256 if lfs is not None else getattr(file, "blob_id", None)
