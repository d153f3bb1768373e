"""A resolved spec as a run that can be rendered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.planning.plan import JobRequest
from hfjobs_trainer.planning.resolve import Resolved, is_hub_id
from hfjobs_trainer.rendering.run import Data, Header, Reward, Run
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Dataset, LoRA
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, RewardFunction

_BUILDERS: dict[str | None, str] = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}

# Packages that an argument's value asks for: (argument, how the value begins, package).
_OPTIMIZER_PACKAGES = (
    ("paged_", "bitsandbytes"),
    ("adamw_8bit", "bitsandbytes"),
    ("adamw_bnb", "bitsandbytes"),
    ("lion_", "bitsandbytes"),
    ("ademamix", "bitsandbytes"),
    ("rmsprop_bnb", "bitsandbytes"),
    ("adamw_torch_4bit", "torchao"),
    ("adamw_torch_8bit", "torchao"),
)


def compose(spec: TrainSpec, facts: Facts, resolved: Resolved, request: JobRequest, *, backend: str) -> Run:
    """Everything that the renderer needs, and nothing it would have to decide.

    On the local backend, relative paths become absolute, since the script runs in its run folder.
    """
    method = type(spec).METHOD
    rewards = [_reward(item) for item in getattr(spec, "reward_funcs", ())]
    functions = [item for item in getattr(spec, "reward_funcs", ()) if isinstance(item, RewardFunction)]
    absolute = backend == "local"
    arguments = dict(resolved.arguments)
    # settled on the machine, so that the global batch is kept on whatever number of GPUs it has
    accumulates = spec.global_batch_size is not None and not spec.is_set("gradient_accumulation_steps")
    if accumulates:
        arguments.pop("gradient_accumulation_steps", None)
    model_init: dict[str, Any] = {
        "revision": spec.model_revision,
        "attn_implementation": spec.attn_implementation,
        **(spec.trl_arguments().get("model_init_kwargs") or {}),
    }
    return Run(
        method=method.name,
        label=method.label,
        module=method.module,
        trainer=method.trainer,
        config=method.config,
        header=_header(spec, resolved, request),
        model=(facts.model.path if absolute else None) or spec.model,
        dataset=_data(spec.dataset, facts.dataset if absolute else None),
        eval_dataset=_data(spec.eval_dataset, facts.eval_dataset if absolute else None) if spec.eval_dataset else None,
        eval_fraction=spec.eval_fraction,
        eval_seed=spec.seed,
        arguments=arguments,
        precision=resolved.precision,
        precision_is_set=resolved.precision_is_set,
        use_cpu=spec.use_cpu,
        dtype=resolved.dtype,
        dtype_is_set=spec.dtype is not None,
        model_init={key: value for key, value in model_init.items() if value is not None},
        global_batch_size=spec.global_batch_size if accumulates else None,
        lora=_lora(spec.lora) if spec.lora else None,
        rewards=rewards,
        imports=sorted({line for function in functions for line in function.imports}),
        num_gpus=resolved.num_gpus,
        single=spec.hardware.strategy == "single" or spec.use_cpu,
        tracking=resolved.tracking,
        pushes=spec.output.pushes,
        dataset_name=spec.dataset.id if is_hub_id(spec.dataset.id) else None,
        resume_from_checkpoint=spec.resume_from_checkpoint,
    )


def _lora(lora: LoRA) -> dict[str, Any]:
    """Arguments of ``peft.LoraConfig``: what was set, and TRL's defaults where PEFT's are others."""
    defaults = {"r": lora.r, "lora_alpha": lora.lora_alpha, "lora_dropout": lora.lora_dropout}
    return defaults | lora.model_dump(exclude_unset=True) | {"task_type": "CAUSAL_LM"}


def _data(dataset: Dataset, local: DatasetFacts | None) -> Data:
    location = (local.path if local else None) or dataset.id
    common: dict[str, Any] = {
        "split": dataset.split,
        "columns": dataset.columns,
        "num_samples": dataset.num_samples,
        "streaming": dataset.streaming,
    }
    if is_hub_id(dataset.id):
        arguments: dict[str, Any] = {"name": dataset.config, "split": dataset.split, "revision": dataset.revision}
        if dataset.streaming:
            arguments["streaming"] = True
        return Data(location, None, {key: value for key, value in arguments.items() if value is not None}, **common)
    builder = _BUILDERS.get(data_suffix(dataset.id), "disk")
    if builder == "disk":
        return Data(location, builder, {}, **common)
    arguments = {"split": dataset.split} | ({"streaming": True} if dataset.streaming else {})
    return Data(location, builder, arguments, **common)


def _reward(item: str | RewardFunction) -> Reward:
    if isinstance(item, RewardFunction):
        return Reward("function", item.name, source=item.source)
    builtin = BUILTIN_REWARDS.get(item)
    if builtin is None:
        return Reward("model", item)
    return Reward("factory", item, builtin.arguments) if builtin.arguments else Reward("builtin", item)


def _header(spec: TrainSpec, resolved: Resolved, request: JobRequest) -> Header:
    tested = pins(type(spec).METHOD.family)
    wanted = {package for package in tested.packages if package != "peft" or spec.lora is not None}
    if spec.tracking.report_to != "trackio":
        wanted.discard("trackio")
    for item in getattr(spec, "reward_funcs", ()):
        if isinstance(item, str) and item in BUILTIN_REWARDS:
            wanted.update(BUILTIN_REWARDS[item].packages)
    wanted |= {package for start, package in _OPTIMIZER_PACKAGES if spec.optim.startswith(start)}
    if spec.hardware.deepspeed is not None:
        wanted.add("deepspeed")
    if spec.use_liger_kernel:
        wanted.add("liger-kernel")
    dependencies = sorted(tested.requirement(package) for package in wanted)
    return Header(
        requires_python=tested.requires_python,
        dependencies=(*dependencies, *spec.extra_dependencies),
        exclude_newer=tested.exclude_newer,
        unbounded=tested.unbounded,
        job=job_table(request),
        spec=spec.to_json(),
        digest=spec.digest,
    )


def job_table(request: JobRequest) -> Mapping[str, Any]:
    """The ``[tool.hf-jobs]`` table: what ``submit`` passes, for those who run the script with ``hf jobs uv run``."""
    table: dict[str, Any] = {
        "image": request.image,
        "flavor": request.flavor,
        "timeout": f"{request.timeout_seconds}s" if request.timeout_seconds else None,
        "name": request.name,
        "namespace": request.namespace,
        "env": dict(request.env) or None,
        "secrets": list(request.secrets) or None,
        "labels": dict(request.labels) or None,
    }
    return {key: value for key, value in table.items() if value is not None}
