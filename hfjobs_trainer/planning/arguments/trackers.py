"""Trackers: what a plan must know of each, and what each calls a project, a run and a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.planning.names import basename, slug
from hfjobs_trainer.planning.plan import Decide

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendTraits
    from hfjobs_trainer.specs.groups import Tracking

SPACE_NAME = "trackio"


@dataclass(frozen=True, slots=True)
class Tracker:
    """What a plan must know of a tracker.

    Attributes:
        spaces: Its dashboard is a Space, with a bucket behind it.
        files: What its files are called, if it is nothing but files in the model's folder: then it is told the folder,
            and neither a project nor the end of the run; empty otherwise.
        secret: Environment variable that a rented machine needs to reach it; ``None`` if none.
        unless: Variables and values of the spec's ``env`` with which the secret is not needed.
    """

    spaces: bool = False
    files: str = ""
    secret: str | None = None
    unless: tuple[tuple[str, str], ...] = ()


TRACKERS: Mapping[str, Tracker] = {
    "trackio": Tracker(spaces=True),
    "wandb": Tracker(secret="WANDB_API_KEY", unless=(("WANDB_MODE", "offline"), ("WANDB_MODE", "disabled"))),
    "tensorboard": Tracker(files="TensorBoard"),
    # may carry a user name and a password
    "mlflow": Tracker(secret="MLFLOW_TRACKING_URI"),
}
"""Trackers by the name that ``report_to`` takes, which is also their package's name."""


def has_space(reporter: str) -> bool:
    """Whether the tracker of this name has its dashboard in a Space."""
    return reporter in TRACKERS and TRACKERS[reporter].spaces


def tracks_files(reporter: str) -> bool:
    """Whether the tracker of this name is nothing but files in the model's folder."""
    return reporter in TRACKERS and bool(TRACKERS[reporter].files)


def resolve_tracking(
    given: Tracking,
    output_dir: str,
    repo: str | None,
    namespace: str | None,
    backend: BackendTraits,
    decide: Decide,
    subject: str = "model",
) -> dict[str, Any] | None:
    """Arguments of the script's ``track``; ``None`` without a tracker.

    Args:
        given: The user's settings.
        output_dir: Output folder of the model.
        repo: Repository to which the model is pushed, or ``None``.
        namespace: Owner of the Space; ``None`` if unknown.
        backend: Where the script will run.
        decide: Records every value that is chosen here.
        subject: What the project is named after.
    """
    tracker = TRACKERS.get(given.report_to)
    if tracker is None:
        return None
    if tracker.files:
        # in the output folder, so that it is pushed with the model and shown on its page
        parts = [output_dir, "runs", *(slug(part) for part in (given.project, given.group, given.name) if part)]
        why = f"{tracker.files} reads files; they are saved with the model"
        return {"folder": decide("tracking", "/".join(parts), why)}
    project = given.project
    if project is None:
        name = slug(basename(repo or output_dir)) or "training"
        project = decide("tracking.project", name, f"named after the {subject}")
    run: dict[str, Any] = {"project": project, "name": given.name, "group": given.group}
    if not tracker.spaces:
        return run
    space = given.space_id
    if space is None and not backend.keeps_files and namespace is not None:
        why = "your dashboard, kept after the machine is gone"
        space = decide("tracking.space_id", f"{namespace}/{SPACE_NAME}", why)
    elif space is not None and "/" not in space and namespace is not None:
        space = f"{namespace}/{space}"
    bucket = {"bucket_id": given.bucket_id} if given.bucket_id is not None else {}
    return {**run, "space_id": space, **bucket, "private": given.private}


def tracking_arguments(reporters: Sequence[str], tracking: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments of the trainer's config that match the script's ``track``, which is of the first tracker."""
    reporter = reporters[0]
    arguments: dict[str, Any] = {"report_to": [*reporters] if len(reporters) > 1 else reporter}
    if tracking is None:
        return arguments
    if has_space(reporter):
        # unless False, transformers creates a public static Space when it pushes
        arguments |= {"project": tracking["project"], "trackio_static_space_id": False}
    for name, key in (("run_name", "name"), ("trackio_space_id", "space_id"), ("trackio_bucket_id", "bucket_id")):
        if tracking.get(key) is not None:
            arguments[name] = tracking[key]
    return arguments


def tracking_secrets(reporter: str, env: Mapping[str, str], backend: BackendTraits) -> tuple[str, ...]:
    """Secrets that a rented machine needs to reach the tracker; none on this machine, in the user's own environment."""
    tracker = TRACKERS.get(reporter)
    if not backend.rents or tracker is None or tracker.secret is None:
        return ()
    known = tracker.secret in env or any(env.get(name) == value for name, value in tracker.unless)
    return () if known else (tracker.secret,)
