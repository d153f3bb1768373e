"""Local models and datasets that travel with the job: kept once in a bucket under their digest, mounted read-only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from hfjobs_trainer.contents import pinned, split_pin
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.plan import JobRequest, LocalData, Volume
from hfjobs_trainer.problems import Found
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import Input, inputs
from hfjobs_trainer.specs.locations import is_local_path

BUCKET = "jobs-artifacts"
"""The bucket of an account's jobs, in which the client keeps scripts as well."""
FOLDER = "hfjobs-trainer"
"""Where this package keeps its files in that bucket, which other tools use too."""
MOUNT = "/hft/data"
"""Where a job sees the data: each in a folder named by its digest."""
LARGE_BYTES = 5 * 1024**3
"""Data above this take long to upload: 7 minutes at 100 Mbit/s."""


def shipped_inputs(spec: TrainSpec, facts: Facts, backend: BackendTraits) -> list[Input]:
    """The models and datasets of a spec that travel with the job: local ones whose content is known."""
    if not backend.ships_data:
        return []
    return [item for item in inputs(spec, facts) if item.is_local and item.content and item.place]


def local_data(items: Iterable[Input]) -> tuple[LocalData, ...]:
    """What travels for these inputs, each content once."""
    found: dict[str, LocalData] = {}
    for item in items:
        content = item.content
        if content is None or item.place is None:
            continue
        known = found.get(content.digest)
        fields = (*(known.fields if known else ()), item.path)
        found[content.digest] = LocalData(fields, content, item.place)
    return tuple(found.values())


def with_data(request: JobRequest, data: tuple[LocalData, ...]) -> JobRequest:
    """The request with these data in its volumes; without a namespace, the bucket is that of whoever submits."""
    source = f"{request.namespace}/{BUCKET}" if request.namespace else BUCKET
    volumes = [
        Volume("bucket", source, mount_of(item), read_only=True, path=folder_of(item.content.digest)) for item in data
    ]
    return replace(request, data=data, volumes=(*request.volumes, *volumes))


def folder_of(digest: str) -> str:
    """The folder of some content in the bucket."""
    return f"{FOLDER}/data/{digest}"


def mount_of(item: LocalData) -> str:
    """The folder in the job that holds the file or folder."""
    return f"{MOUNT}/{item.content.digest}"


def readers(namespace: str | None, account: AccountFacts) -> str:
    """Who can read what is kept in the private bucket of a user or an organization."""
    if namespace is None or namespace == account.name:
        return "only you can read it"
    return f"every member of {namespace} can read it"


def missing(item: Input) -> Found:
    """What to say of a local path that leads nowhere."""
    path, digest = split_pin(item.id)
    if digest is None:
        return Found(item.id_path, f"{path} does not exist on this machine")
    why = f"{path} with the SHA-256 {digest} is not on this machine: it is elsewhere, or has changed"
    return Found(item.id_path, why)


def location(id: str, known: DatasetFacts | ModelFacts | None, *, absolute: bool) -> str:
    """How a script names a model or dataset.

    Args:
        id: Hub id or path, as the spec gives it.
        known: What is known about it.
        absolute: Whether local paths become absolute, since the script runs on this machine in a folder of its own.
    """
    if known is None:
        return id
    if absolute:
        return known.path or id
    return pinned(id, known.content.digest) if known.content and is_local_path(id) else id


def portable(spec: TrainSpec, items: Iterable[Input]) -> dict[str, Any]:
    """The spec in normal form, in which local inputs are named by their content instead of their absolute path."""
    fields = spec.to_dict()
    for item in items:
        if item.content is None:
            continue
        *path, leaf = item.id_path.split(".")
        holder: Any = fields
        for part in path:
            holder = holder[int(part) if part.isdigit() else part]
        name, held = pinned(item.id, item.content.digest), holder[leaf]
        # several models stand in a list, among functions
        several = cast("list[Any]", held) if isinstance(held, list) else None
        holder[leaf] = name if several is None else [name if one == item.id else one for one in several]
    return fields
