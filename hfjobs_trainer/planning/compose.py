"""A resolved spec as a run that can be rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.planning.optimizers import is_bitsandbytes
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.planning.plan import JobRequest
from hfjobs_trainer.planning.resolve import Resolved, is_hub_id
from hfjobs_trainer.planning.strategies import SHARDED, strategy_arguments
from hfjobs_trainer.planning.trackers import TRACKERS
from hfjobs_trainer.planning.tuning import (
    MERGE_DTYPE,
    adapter_is_bf16,
    adapter_to_load,
    load_options,
    lora_arguments,
    merges,
    quantization_arguments,
    trains_weights,
)
from hfjobs_trainer.planning.vision import PACKAGES as VISION_PACKAGES
from hfjobs_trainer.planning.vision import chooses_targets, sees
from hfjobs_trainer.planning.vllm import uses_vllm, vllm_server
from hfjobs_trainer.rendering.page import Data, Header, Page, Reward, SideModel
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.extras import RewardedSpec, ScoredSpec, TaughtSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, RewardFunction

_BUILDERS: dict[str | None, str] = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}

# Class of transformers that loads a model, by PEFT's task type.
_MODEL_CLASSES = {"CAUSAL_LM": "AutoModelForCausalLM", "SEQ_CLS": "AutoModelForSequenceClassification"}
_VISION_CLASS = "AutoModelForImageTextToText"

# Optimizers that are torchao's.
_TORCHAO = ("adamw_torch_4bit", "adamw_torch_8bit")


def compose(spec: TrainSpec, facts: Facts, resolved: Resolved, request: JobRequest, *, backend: str) -> Page:
    """Everything that the renderer needs, and nothing it would have to decide.

    On the local backend, relative paths become absolute, since the script runs in its run folder.
    """
    method = type(spec).METHOD
    rewards = [_reward(item) for item in getattr(spec, "reward_funcs", ())]
    tools: Sequence[RewardFunction] = getattr(spec, "tools", ())
    functions = [item for item in (*getattr(spec, "reward_funcs", ()), *tools) if isinstance(item, RewardFunction)]
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
    if method.loads_models:
        model_init["trust_remote_code"] = arguments.pop("trust_remote_code", None)
    return Page(
        method=method.name,
        label=method.label,
        module=method.module,
        trainer=method.trainer,
        config=method.config,
        experimental=method.experimental,
        header=_header(spec, facts, resolved, request),
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
        frozen=not trains_weights(spec),
        model_init=_given(model_init) | ({"device_map": None} if method.device_map else {}),
        tokenizer=_loading(spec.model_revision, spec),
        teacher=_teacher(spec, facts if absolute else None, resolved),
        reward_model=_reward_model(spec, facts if absolute else None, resolved),
        value_model=_value_model(spec, facts if absolute else None),
        global_batch_size=spec.global_batch_size if accumulates else None,
        lora=lora_arguments(spec.lora, method.lora_task, all_linear=chooses_targets(spec, facts)),
        adapter=adapter_to_load(spec.lora, absolute=absolute),
        quantization=quantization_arguments(spec.quantization, spec.dtype),
        bf16_adapter=adapter_is_bf16(spec),
        model_class=_model_class(spec, facts),
        load_options=load_options(spec, model_init),
        merge=merges(spec),
        merge_dtype=spec.dtype or MERGE_DTYPE,
        strategy=resolved.strategy,
        sharding=strategy_arguments(resolved.strategy),
        downloads=_downloads(spec) if resolved.world_size > 1 or resolved.strategy in SHARDED else {},
        server=vllm_server(spec, resolved.server_gpus, resolved.arguments.get("vllm_max_model_length")),
        rewards=rewards,
        tools=[_reward(tool) for tool in tools],
        imports=sorted({line for function in functions for line in function.imports}),
        num_gpus=resolved.num_gpus,
        nodes=request.nodes,
        max_gpus=1 if spec.hardware.strategy == "single" or spec.use_cpu else spec.hardware.num_gpus or 0,
        tracker=spec.tracking.report_to,
        tracking=resolved.tracking,
        pushes=spec.output.pushes,
        dataset_name=spec.dataset.id if is_hub_id(spec.dataset.id) and not spec.dataset.mixed_with else None,
        resume_from_checkpoint=spec.resume_from_checkpoint,
    )


def _model_class(spec: TrainSpec, facts: Facts) -> str:
    task = type(spec).METHOD.lora_task
    return _VISION_CLASS if task == "CAUSAL_LM" and sees(spec, facts) else _MODEL_CLASSES[task]


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _downloads(spec: TrainSpec) -> dict[str, str | None]:
    """Every model of the Hub that the script loads, each with its revision."""
    models: dict[str, str | None] = {spec.model: spec.model_revision}
    if isinstance(spec, RewardedSpec):
        models |= dict.fromkeys(spec.reward_models)
    if isinstance(spec, TaughtSpec):
        models |= {spec.teacher_model: spec.teacher_model_revision}
    if isinstance(spec, ScoredSpec):
        models |= {spec.reward_model: spec.reward_model_revision}
        models |= {spec.value_model: spec.value_model_revision} if spec.value_model else {}
    return {model: revision for model, revision in models.items() if is_hub_id(model)}


def _teacher(spec: TrainSpec, local: Facts | None, resolved: Resolved) -> SideModel | None:
    if not isinstance(spec, TaughtSpec):
        return None
    options = {"revision": spec.teacher_model_revision, **(spec.teacher_model_init_kwargs or {})}
    dtype = options.pop("dtype", None)
    path = local.teacher.path if local and local.teacher else None
    return SideModel(path or spec.teacher_model, dtype or resolved.frozen_dtype, dtype is not None, _given(options))


def _reward_model(spec: TrainSpec, local: Facts | None, resolved: Resolved) -> SideModel | None:
    if not isinstance(spec, ScoredSpec):
        return None
    path = local.reward_model.path if local and local.reward_model else None
    options = _loading(spec.reward_model_revision, spec)
    return SideModel(path or spec.reward_model, resolved.frozen_dtype, options=options)


def _value_model(spec: TrainSpec, local: Facts | None) -> SideModel | None:
    if not isinstance(spec, ScoredSpec):
        return None
    start = local.value_model or local.reward_model if local else None
    revision = spec.value_model_revision if spec.value_model else spec.reward_model_revision
    # it is trained in full, whatever the policy is
    return SideModel(
        (start.path if start else None) or spec.value_model or spec.reward_model,
        "float32",
        dtype_is_set=True,
        options=_loading(revision, spec),
    )


def _loading(revision: str | None, spec: TrainSpec) -> dict[str, Any]:
    return _given({"revision": revision, "trust_remote_code": spec.trust_remote_code or None})


def _data(dataset: Dataset, local: DatasetFacts | None) -> Data:
    location = (local.path if local else None) or dataset.id
    # what is not known of a part is not known: its location is the one in the spec
    known = [*(local.mixed_with if local else ()), *repeat(None, len(dataset.mixed_with))]
    common: dict[str, Any] = {
        **dataset.model_dump(include={"split", "columns", "keep_columns", "num_samples", "streaming", "fraction"}),
        "mixed_with": tuple(map(_data, dataset.mixed_with, known)),
    }
    if is_hub_id(dataset.id):
        arguments: dict[str, Any] = {
            "name": dataset.config,
            **dataset.model_dump(include={"data_dir", "data_files", "split", "revision"}),
            "streaming": dataset.streaming or None,
        }
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


def _header(spec: TrainSpec, facts: Facts, resolved: Resolved, request: JobRequest) -> Header:
    tested = pins(type(spec).METHOD.family)
    wanted = {package for package in tested.packages if package != "peft" or spec.lora is not None}
    if spec.tracking.report_to != "trackio":
        wanted.discard("trackio")
        wanted |= {spec.tracking.report_to} & TRACKERS.keys()
    for item in getattr(spec, "reward_funcs", ()):
        if isinstance(item, str) and item in BUILTIN_REWARDS:
            wanted.update(BUILTIN_REWARDS[item].packages)
    if spec.optim in _TORCHAO:
        wanted.add("torchao")
    if spec.quantization is not None or is_bitsandbytes(spec.optim):
        wanted.add("bitsandbytes")
    if uses_vllm(spec):
        wanted.add("vllm")
    if sees(spec, facts):
        wanted |= set(VISION_PACKAGES)
    if spec.hardware.deepspeed is not None or resolved.strategy.startswith("zero"):
        wanted.add("deepspeed")
    if spec.use_liger_kernel:
        wanted.add("liger-kernel")
    features = {"trl": "vllm"} if uses_vllm(spec) else {}
    dependencies = sorted(tested.requirement(package, features.get(package, "")) for package in wanted)
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
