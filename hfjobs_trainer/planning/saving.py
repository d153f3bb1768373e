"""Where checkpoints are kept, at which steps a run resumes exactly, and what of that its job must be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.arguments.decide import Decided
from hfjobs_trainer.planning.bucket import BUCKET, MOUNT
from hfjobs_trainer.planning.duration.saves import Saves
from hfjobs_trainer.planning.layout import Layout, given_layout, resume_every
from hfjobs_trainer.planning.plan import Decision, JobRequest, Volume
from hfjobs_trainer.planning.run import Run

Place = Literal["bucket", "hub", "disk"]

LONG_SECONDS = 900
"""Timeout from which on checkpoints are kept without being asked for, seconds: below it there is little to lose."""
USUAL_STEPS = 500
"""``save_steps`` of transformers' default."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What protects the work of a run.

    Attributes:
        place: Where checkpoints are kept: ``"bucket"``, ``"hub"``, ``"disk"`` for the machine alone; ``None``: the run
            cannot be resumed.
        why: The reason.
        mounts: Whether the job sees the bucket, for checkpoints or for a model that cannot be pushed.
        resume_every: A run resumes exactly from checkpoints at multiples of so many steps.
        saves: When it saves, and what is at risk in between; ``None`` if unknown.
    """

    place: Place | None = None
    why: str = ""
    mounts: bool = False
    resume_every: int = 1
    saves: Saves | None = None

    @property
    def is_durable(self) -> bool:
        """Whether checkpoints outlive the machine."""
        return self.place in ("bucket", "hub")


NOTHING = Keeping()
"""What protects a run of which nothing is known."""


def keep(
    run: Run, layout: Layout | None, world: int, seconds: int | None, saves: Saves | None, backend: BackendTraits
) -> Keeping:
    """Where the checkpoints of a run go, and when it resumes.

    Args:
        run: The run.
        layout: Its layout; ``None`` if no batch can be formed.
        world: GPUs that train, over all machines.
        seconds: The timeout that is sent; ``None`` if unknown.
        saves: When it saves, as its duration was estimated; ``None`` if unknown.
        backend: Where it will run.
    """
    place, why = _place(run, seconds, backend)
    may_be_long = backend.ships_data and (seconds is None or seconds > LONG_SECONDS)
    # also for a model that cannot be pushed
    rescues = run.output.checkpoints == "auto" and run.output.pushes and may_be_long
    return Keeping(
        place, why, place == "bucket" or rescues, resume_every(run, layout or given_layout(run, 1), world), saves
    )


def _place(run: Run, seconds: int | None, backend: BackendTraits) -> tuple[Place | None, str]:
    asked = run.output.checkpoints
    if asked is None:
        return None, "as you said: the run cannot be resumed"
    if not run.training.resumes:
        return None, f"the trainer of {run.method.label} cannot go on from a checkpoint"
    if not run.saving.resumable:
        return None, "with save_only_model, a checkpoint lacks what a run needs to go on"
    if asked == "hub":
        return "hub", "as you said"
    if not backend.ships_data:
        return "disk", f"{backend.place or backend.name} has no buckets: they stay on its disk"
    if asked == "bucket":
        return "bucket", "as you said"
    if seconds is not None and seconds <= LONG_SECONDS:
        return "disk", f"a run of {LONG_SECONDS // 60} minutes at most has little to lose"
    until = "until the model is pushed" if run.output.pushes else "until you delete it"
    return "bucket", f"private, kept {until}"


def with_saves(decided: Decided, run: Run, kept: Keeping, *, rents: bool) -> Decided:
    """The arguments and decisions with when the run saves, and where its checkpoints go.

    Args:
        decided: What was decided so far.
        run: The run.
        kept: What protects its work.
        rents: Whether a machine is rented.
    """
    made: list[Decision] = []
    if rents and run.output.checkpoints == "auto":
        made.append(Decision("output.checkpoints", kept.place, kept.why))
    every, saves = kept.resume_every, kept.saves
    if run.saving.is_open and rents and saves is not None and saves.chosen:
        made.append(Decision("save_steps", saves.every, f"{saves.cost}, if machines fail daily"))
    elif run.saving.is_open and USUAL_STEPS % every:
        steps = -(-USUAL_STEPS // every) * every
        made.append(Decision("save_steps", steps, f"a multiple of {every}: in between, completions wait to be used"))
    arguments = {item.path: item.value for item in made if item.path == "save_steps"}
    return replace(decided, arguments=decided.arguments | arguments, decisions=(*decided.decisions, *made))


def with_checkpoints(request: JobRequest, kept: Keeping) -> JobRequest:
    """The request with what the script needs to end well: the time that it has, and the bucket.

    The bucket has no namespace yet: it is that of whoever submits, who creates it.
    """
    env = dict(request.env)
    if request.timeout_seconds is not None:
        env.setdefault("HFT_TIMEOUT", str(request.timeout_seconds))
    if not kept.mounts:
        return replace(request, env=env)
    env.setdefault("HFT_CHECKPOINTS", MOUNT)
    volume = Volume("bucket", BUCKET, MOUNT, read_only=False)
    return replace(request, env=env, volumes=(*request.volumes, volume))


def without_checkpoints(request: JobRequest) -> JobRequest:
    """The request of a trial of the run, which has no deadline of its own and keeps nothing."""
    env = {name: value for name, value in request.env.items() if name not in ("HFT_TIMEOUT", "HFT_CHECKPOINTS")}
    volumes = tuple(volume for volume in request.volumes if volume.mount_path != MOUNT)
    return replace(request, env=env, volumes=volumes)
