"""What the model's card says of a run, and what of it the public may read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from hfjobs_trainer.contents import PIN, base_name, split_pin
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.hardware.machine import Machine
from hfjobs_trainer.planning.plan import JobRequest
from hfjobs_trainer.planning.revisions import commit_of
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.rendering.page import Card, Source
from hfjobs_trainer.specs.base import TrainSpec, digest_of
from hfjobs_trainer.specs.inputs import Input, inputs
from hfjobs_trainer.specs.locations import is_local_path

# Fields of a spec that only concern whoever runs and pays, by group.
_OWN = frozenset({"env", "secrets", "labels", "namespace", "tracking", "resume_from_checkpoint"})
_OWN_OF_HARDWARE = frozenset({"max_usd", "max_usd_per_hour", "resource_group_id", "ssh", "expose"})

_ROLES = {
    "dataset": "dataset",
    "eval_dataset": "evaluation dataset",
    "processing_class": "tokenizer",
    "lora.adapter": "adapter to start from",
    "teacher_model": "teacher",
    "ref_model": "reference model",
    "reward_funcs": "reward model",
}

# The badges and the tag with which TRL links to a tracker.
_TRACKERS = r"(?m)^(?:- '?trackio:|\[<img src=).*\n"


def card_of(
    spec: TrainSpec, sent: Mapping[str, Any], facts: Facts, run: Run, machine: Machine, request: JobRequest
) -> Card | None:
    """What the model's card says; ``None`` if the model is not pushed.

    Args:
        spec: The spec, with commits instead of branches.
        sent: The spec as the script carries it.
        facts: Facts about the inputs, and about the repository.
        run: The run.
        machine: The machine.
        request: The job.
    """
    if not run.output.pushes:
        return None
    public = is_public(run, facts)
    found = inputs(spec, facts)
    data = [item for item in found if item.kind == "dataset" and not item.is_local]
    metadata: dict[str, Any] = {}
    if facts.model.license is not None:
        metadata["license"] = facts.model.license
    if data:
        metadata["datasets"] = list(dict.fromkeys(item.id for item in data))
    replaces = {r"\[None\]\(https://huggingface.co/None\)": "a local model"} if is_local_path(spec.model) else {}
    if public and run.tracking.private:
        replaces[_TRACKERS] = ""
    flavor = None if public else machine.flavor
    return Card(
        sources=tuple(_source(item) for item in found),
        metadata=metadata,
        loaded_by=dict(_loaders(run)),
        load_options=({"num_labels": 1} if run.method.lora_task == "SEQ_CLS" else {})
        | ({"trust_remote_code": True} if spec.trust_remote_code else {}),
        evaluates=run.evaluation.has_set,
        flavor=flavor.name if flavor else None,
        nodes=request.nodes,
        usd_per_hour=flavor.usd_per_hour * request.nodes if flavor and flavor.usd_per_hour else None,
        jobs=f"https://huggingface.co/jobs/{run.namespace}/" if flavor and run.namespace else None,
        published=_published(sent) if public else {},
        replaces=replaces,
    )


def is_public(run: Run, facts: Facts) -> bool:
    """Whether anyone may read the model's repository: one that is there already stays what it is."""
    return not run.output.private or bool(facts.target and facts.target.private is False)


def _source(item: Input) -> Source:
    role = _ROLES.get(item.path.split(".mixed_with")[0], item.path.replace("_", " "))
    if item.is_local:
        path, digest = split_pin(item.id)
        digest = digest or (item.content.digest if item.content else None)
        return Source(role, base_name(path), version=f"SHA-256 {digest}" if digest else None)
    commit = item.revision or commit_of(item.known)
    kind = "datasets/" if item.kind == "dataset" else ""
    address = f"https://huggingface.co/{kind}{item.id}" + (f"/tree/{commit}" if commit else "")
    return Source(role, item.id, address, commit and commit[:12])


def _loaders(run: Run) -> Iterator[tuple[str, str]]:
    """The class that loads what is pushed, by library."""
    task = "ForSequenceClassification" if run.method.lora_task == "SEQ_CLS" else "ForCausalLM"
    whole = "ForImageTextToText" if task == "ForCausalLM" and run.sees else task
    if run.lora is not None and run.merges != "only":
        # peft has no class of its own for models that see: transformers loads their adapters
        yield "peft", f"AutoPeftModel{task}" if whole == task else f"AutoModel{whole}"
    if run.lora is None or run.merges:
        yield "transformers", f"AutoModel{whole}"


def _published(sent: Mapping[str, Any]) -> dict[str, str]:
    spec = published_spec(sent)
    return {"digest": digest_of(spec), "spec": json.dumps(spec)}


def published_spec(sent: Mapping[str, Any]) -> dict[str, Any]:
    """A spec without what only concerns whoever runs and pays, and with the names of local files for their paths."""
    spec = {name: value for name, value in sent.items() if name not in _OWN}
    if "hardware" in spec:
        spec["hardware"] = {name: value for name, value in spec["hardware"].items() if name not in _OWN_OF_HARDWARE}
    return _without_paths(spec)


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in cast("list[Any]", value)]
    if not isinstance(value, str) or "\n" in value or not is_local_path(value):
        return value
    path, digest = split_pin(value)
    return base_name(path) + (f"{PIN}{digest}" if digest else "")
