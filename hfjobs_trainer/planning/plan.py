"""The plan: everything that will be sent, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hfjobs_trainer.display import given_fields
from hfjobs_trainer.facts.gap import Gap, needed_answers

if TYPE_CHECKING:
    from hfjobs_trainer.contents import Content
    from hfjobs_trainer.facts import Flavor
    from hfjobs_trainer.facts.backends import BackendTraits
    from hfjobs_trainer.planning.estimate import Estimate, FlavorChoice
    from hfjobs_trainer.planning.prefer import Alternative
    from hfjobs_trainer.planning.run import Run
    from hfjobs_trainer.planning.saving import Keeping
    from hfjobs_trainer.problems import Problem, Unchecked
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.specs.script import Script


@dataclass(frozen=True, slots=True)
class Decision:
    """A value that was chosen for the user.

    Attributes:
        path: The field that it sets, such as ``"hardware.flavor"``.
        value: What was chosen.
        why: The reason, one clause.
    """

    path: str
    value: Any
    why: str


Decide = Callable[[str, Any, str], Any]
"""Records a decision (path, value, why) and returns its value."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A bucket or repository that a job sees as a folder, in the terms of ``huggingface_hub.Volume``.

    Attributes:
        type: What it is.
        source: Its id, such as ``"me/bucket"``; of a bucket without a namespace, it is that of the job.
        mount_path: The folder in the job, such as ``"/checkpoints"``; ``/data`` is the script's.
        revision: Branch, tag or commit of a repository; ``None`` for the main branch.
        read_only: Whether the job may only read it; ``None`` for the default of the Hub, with which it may write to a
            bucket and to nothing else.
        path: Folder within it; ``None`` for all of it.
    """

    type: Literal["bucket", "model", "dataset", "space"]
    source: str
    mount_path: str
    revision: str | None = None
    read_only: bool | None = None
    path: str | None = None

    def __repr__(self) -> str:
        return f"Volume({'/'.join(filter(None, [self.source, self.path]))!r} at {self.mount_path!r})"


@dataclass(frozen=True, slots=True)
class LocalData:
    """A local model or dataset that travels with the job.

    Attributes:
        fields: Fields of the spec that name it, such as ``("dataset", "eval_dataset")``.
        content: What it is: name, digest, files and their sizes in bytes.
        place: Its absolute path on this machine, which is sent nowhere.
    """

    fields: tuple[str, ...]
    content: Content
    place: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The job that a backend is asked to run; secrets by name only.

    Attributes:
        script: Text of the script.
        name: Short name of the run, ``[a-z0-9-]``.
        flavor: Flavor of Hugging Face Jobs; ``None`` if none could be chosen.
        timeout_seconds: The timeout that is sent, in seconds, padding included; ``None`` for no limit (local backend
            only).
        env: Environment variables, readable by everyone who can see the job.
        secrets: Names of secrets; their values are read from the caller's environment at submit.
        labels: Labels of the job, ``[A-Za-z0-9_-]`` only.
        namespace: User or organization that runs and pays; ``None`` for the token's owner.
        image: Docker image; ``None`` for the client's image for uv.
        nodes: Machines that run the script together, each as a job of its own.
        data: Local models and datasets that are uploaded before the job is created, unless they are there; their
            volumes are in ``volumes``.
        volumes: Buckets and repositories to mount; these and the following are for Hugging Face Jobs only.
        attempts: Most attempts, if the job fails.
        ssh: Whether the job can be reached by SSH.
        expose: Ports that can be reached through the proxy of Jobs, by those who may see the job.
        resource_group_id: Resource group of the organization that pays; ``None`` for none.
        schedule: When it runs, again and again, such as ``"@weekly"`` or ``"0 3 * * 1"``; ``None`` for once, now.
        files: Texts of files that lie beside the script, by name; for Hugging Face Jobs only.
    """

    script: str = field(repr=False)
    name: str
    flavor: str | None = None
    timeout_seconds: int | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    namespace: str | None = None
    image: str | None = None
    nodes: int = 1
    data: tuple[LocalData, ...] = ()
    volumes: tuple[Volume, ...] = ()
    attempts: int = 1
    ssh: bool = False
    expose: tuple[int, ...] = ()
    resource_group_id: str | None = None
    schedule: str | None = None
    files: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def __repr__(self) -> str:
        return given_fields(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be sent, and why: ``print(plan)`` shows what ``submit(plan)`` sends.

    Attributes:
        spec: The spec as given.
        backend: Name of the backend, such as ``"hub"``.
        request: The job that the backend is asked to run.
        flavor: The chosen flavor; ``None`` on the local backend, and when none could be chosen.
        choice: How the flavor was chosen; ``None`` on the local backend.
        estimate: Memory, time and cost, as far as known; ``None`` if unknown.
        decisions: Every value chosen for the user, with its reason.
        problems: Warnings, and errors of a run on Jobs, which ``submit`` raises.
        unchecked: Rules that could not be checked, each with the fact that was missing.
        prices: Where the prices come from, such as ``"live"`` or ``"snapshot 2026-08-22"``.
        gaps: What the Hub was asked for and did not say: not answered, refused, or absent.
        unasked: Why the Hub was not asked, such as ``"offline=True"``, for which ``submit`` to the Hub raises
            ``NotAsked``; empty if it was.
        run: The run that the spec and the facts describe; ``None`` for an ``hft.Script``.
        traits: The traits of the backend; ``None`` for those of the backend of this name.
        kept: What protects the work of the run; ``None`` for an ``hft.Script``.
        readers: Who can read the local data that travel with the job; empty if there are none.
        revisions: The commits that branches and tags of models and datasets were resolved to, by field:
            ``"model_revision"``, ``"dataset.revision"``; for an ``hft.Script`` the SHA-256 of its text, ``"script"``.
    """

    spec: TrainSpec | Script
    backend: str
    request: JobRequest
    flavor: Flavor | None = None
    choice: FlavorChoice | None = None
    estimate: Estimate | None = None
    decisions: tuple[Decision, ...] = ()
    problems: tuple[Problem, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    prices: str = ""
    gaps: tuple[Gap, ...] = ()
    unasked: str = ""
    run: Run | None = field(default=None, repr=False, compare=False)
    traits: BackendTraits | None = field(default=None, repr=False, compare=False)
    kept: Keeping | None = None
    readers: str = ""
    revisions: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """What the Hub did not answer for, of all that must be known before money is spent, and the prices; and why.

        For all but the prices, ``submit`` to the Hub asks once more, then raises ``HubUnavailable``.
        """
        return tuple(str(gap) for gap in needed_answers(self.gaps))

    @property
    def script(self) -> str:
        """The script that will run."""
        return self.request.script

    @property
    def timeout_seconds(self) -> int | None:
        """The timeout that is sent, in seconds, padding included."""
        return self.request.timeout_seconds

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """The two or three other flavors that are worth a thought, cheapest first; none where no machine is rented.

        Of a flavor that the user named: only those that are clearly cheaper and faster, or on which the run fits if it
        does not fit there.
        """
        return self.choice.alternatives if self.choice is not None else ()

    def __repr__(self) -> str:
        from hfjobs_trainer.planning.show import summarize

        return summarize(self)

    def _repr_html_(self) -> str:
        from hfjobs_trainer.planning.show import show_html

        return show_html(self)

    def __str__(self) -> str:
        from hfjobs_trainer.planning.show import show

        return show(self)
