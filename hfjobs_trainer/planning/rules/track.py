"""Rules about where the metrics go."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.arguments.trackers import has_space
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.names import basename, slug
from hfjobs_trainer.planning.rules.sec import ACCOUNT
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change

# As trackio 0.43 refuses them: names of its own registries, and endings of the files beside a project's.
RESERVED_START = "registry-"
RESERVED_ENDS = (
    "_system",
    "_configs",
    "_traces",
    "_artifacts",
    "_artifact_versions",
    "_artifact_aliases",
    "_external_run_artifact_links",
    "_run_artifact_links",
)


@rule("TRACK001", stage="run", scope="remote")
def metrics_outlive_the_job(context: Context[TrainSpec]) -> Iterator[Found]:
    """Metrics go to a Space that outlives the job.

    What it does:
        Refuses tracking with trackio on a machine that a backend of your own rents, where no Space is given and none
        can be named after you, because that backend has no account. On Hugging Face Jobs the Space is yours; offline,
        and where the Hub does not answer, its owner is unknown, and this is not checked.

    Why:
        Without a Space, trackio writes to the machine's disk, which is gone when the job ends.

    Example:
        ```python
        hft.plan(hft.SFT(model=..., dataset=..., tracking=hft.Tracking(project="chat")), backend="inprocess")
        ```

    Use instead:
        ```python
        hft.plan(hft.SFT(model=..., dataset=..., tracking=hft.Tracking(project="chat"), namespace="username"),
                 backend="inprocess")
        ```
    """
    spec = context.spec
    if not has_space(spec.tracking.report_to) or spec.tracking.space_id is not None:
        return
    if spec.namespace is not None or context.facts.account.name is not None:
        return
    if context.backend.uses_account:
        need(context.facts.account.name, "the owner of the token, whose Space has the metrics", ACCOUNT)
    why = "no Space for the metrics, since the job's owner is unknown, and the machine's disk is lost with the job"
    yield Found("tracking.space_id", why, change(spec, {"tracking.report_to": "none"}))


@rule("TRACK002")
def project_has_a_usable_name(context: Context[TrainSpec]) -> Iterator[Found]:
    """The project has a name that trackio keeps.

    What it does:
        Refuses names of which trackio keeps nothing, and those that it reserves: `registry-...`, and endings such as
        `_system`, `_configs`, `_traces` and `_artifacts`.

    Why:
        trackio stores a project under its letters, digits, `-` and `_` alone: a name without any ends up in the common
        project "default", a reserved one ends the run.

    Example:
        ```python
        hft.Tracking(project="model_artifacts")
        ```

    Use instead:
        ```python
        hft.Tracking(project="model-artifacts")
        ```
    """
    project = context.spec.tracking.project
    if project is None or context.spec.tracking.report_to != "trackio":
        return
    kept = "".join(char for char in project if char.isalnum() or char in "-_").rstrip()
    path = "tracking.project"
    if not kept:
        why = f'trackio drops every character of "{project}", which leaves no name'
        yield Found(path, why, change(context.spec, {path: slug(basename(context.spec.model)) or "chat"}))
    elif kept.startswith(RESERVED_START):
        name = slug(kept.removeprefix(RESERVED_START)) or "models"
        why = f'trackio reserves names that begin with "{RESERVED_START}"'
        yield Found(path, why, change(context.spec, {path: name}))
    elif end := next((end for end in RESERVED_ENDS if kept.endswith(end) and kept != end), None):
        name = f"{kept.removesuffix(end)}{end.replace('_', '-')}"
        yield Found(path, f'trackio reserves names that end in "{end}"', change(context.spec, {path: name}))
