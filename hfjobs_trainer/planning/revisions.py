"""The commits that a run reads: branches and tags are resolved once, so that a re-run sees the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import Input, inputs

S = TypeVar("S", bound=TrainSpec)

JUDGES = "reward_funcs"
"""The field of reward models, which have no field for a revision: the path of theirs is ``reward_funcs.<id>``."""


def resolve_revisions(spec: TrainSpec, facts: Facts) -> Iterator[Decision]:
    """The commit of each model and dataset of the Hub, by the field of its revision, where the Hub named it.

    Nothing is decided for what is on this machine, unknown, or named by its commit already.
    """
    for item in inputs(spec, facts):
        sha = None if item.is_local else commit_of(item.known)
        if sha is not None and item.revision != sha:
            yield Decision(revision_path(item), sha, f"{item.revision or 'main'} at {sha[:7]}")


def commit_of(known: ModelFacts | DatasetFacts | None) -> str | None:
    """The commit that the Hub named; ``None`` where it did not."""
    return known.sha if known is not None and known.exists else None


def revision_path(item: Input) -> str:
    """The field of the revision of a model or dataset."""
    return f"{JUDGES}.{item.id}" if item.path == JUDGES else item.revision_path


def pinned(spec: S, revisions: Iterable[Decision]) -> S:
    """The spec as the script is written from it: with commits instead of branches and tags."""
    found = {decision.path: decision.value for decision in revisions}
    fields: dict[str, Any] = {path: sha for path, sha in found.items() if "." not in path}
    for name in ("dataset", "eval_dataset"):
        data: Dataset | None = getattr(spec, name)
        if data is not None and any(path.startswith(f"{name}.") for path in found):
            fields[name] = _pinned_data(name, data, found)
    if spec.lora is not None and (sha := found.get("lora.adapter_revision")):
        fields["lora"] = spec.lora.model_copy(update={"adapter_revision": sha})
    return spec.model_copy(update=fields) if fields else spec


def _pinned_data(path: str, data: Dataset, found: Mapping[str, str]) -> Dataset:
    fields: dict[str, Any] = {}
    if sha := found.get(f"{path}.revision"):
        fields["revision"] = sha
    if data.mixed_with:
        parts = enumerate(data.mixed_with)
        fields["mixed_with"] = [_pinned_data(f"{path}.mixed_with.{index}", part, found) for index, part in parts]
    return data.model_copy(update=fields)
