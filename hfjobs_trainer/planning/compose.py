"""The page of a planned run: everything that the renderer writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.planning.arguments.attention import needs_kernels
from hfjobs_trainer.planning.arguments.decide import Decided
from hfjobs_trainer.planning.arguments.precision import Precision
from hfjobs_trainer.planning.arguments.strategies import SHARDED, strategy_arguments
from hfjobs_trainer.planning.arguments.trackers import TRACKERS, tracks_files
from hfjobs_trainer.planning.arguments.tuning import (
    MERGE_DTYPE,
    adapter_to_load,
    load_options,
    lora_arguments,
    quantization_arguments,
)
from hfjobs_trainer.planning.arguments.vision import PACKAGES as VISION_PACKAGES
from hfjobs_trainer.planning.arguments.vllm import vllm_server
from hfjobs_trainer.planning.card import card_of
from hfjobs_trainer.planning.hardware.machine import Machine
from hfjobs_trainer.planning.model.optimizers import is_bitsandbytes
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.planning.plan import JobRequest
from hfjobs_trainer.planning.request import job_table
from hfjobs_trainer.planning.revisions import commit_of
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.planning.saving import Keeping
from hfjobs_trainer.planning.shipping import location
from hfjobs_trainer.rendering.page import Data, Header, Page, Reward, SideModel
from hfjobs_trainer.specs.base import TrainSpec, digest_of
from hfjobs_trainer.specs.extras import ActingSpec, ScoredSpec, TaughtSpec, own_code
from hfjobs_trainer.specs.formatted import FormattedSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import shape_of, side_models
from hfjobs_trainer.specs.locations import LOADERS, data_suffix, is_local_path
from hfjobs_trainer.specs.referenced import ReferencedSpec
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, Code, RewardFunction

# Class of transformers that loads a model, by PEFT's task type.
_MODEL_CLASSES = {"CAUSAL_LM": "AutoModelForCausalLM", "SEQ_CLS": "AutoModelForSequenceClassification"}
_VISION_CLASS = "AutoModelForImageTextToText"

# Optimizers that are torchao's.
_TORCHAO = ("adamw_torch_4bit", "adamw_torch_8bit")


def compose(
    spec: TrainSpec,
    sent: Mapping[str, Any],
    facts: Facts,
    run: Run,
    machine: Machine,
    precision: Precision,
    decided: Decided,
    strategy: str,
    request: JobRequest,
    kept: Keeping,
    *,
    absolute: bool,
) -> Page:
    """Everything that the renderer needs, so that it has nothing left to decide.

    Args:
        spec: The spec, for what is rendered as given.
        sent: The spec as the script carries it.
        facts: Facts about the inputs.
        run: The run.
        machine: The machine.
        precision: The run's precision on it.
        decided: The arguments.
        strategy: How the model is distributed over the GPUs.
        request: The job that the backend is asked to run.
        kept: What protects its work.
        absolute: Whether local paths become absolute, since the script runs in a folder of its own.
    """
    method = run.method
    judges = {
        side.id: (location(side.id, known, absolute=absolute), commit_of(known))
        for side, known in side_models(spec, facts)
        if side.id
    }
    rewards = [_reward(item, judges) for item in getattr(spec, "reward_funcs", ())]
    tools: Sequence[RewardFunction] = getattr(spec, "tools", ())
    code = [item for _, item in own_code(spec)]
    arguments = dict(decided.arguments)
    if (template := arguments.get("chat_template_path")) is not None:
        arguments["chat_template_path"] = location(template, facts.chat_template, absolute=absolute)
    # computed when the script runs, so that the global batch stays the same on any number of GPUs
    accumulates = run.batch.global_size is not None and not run.batch.accumulation_is_set
    if accumulates:
        arguments.pop("gradient_accumulation_steps", None)
    model_init: dict[str, Any] = {
        "revision": spec.model_revision,
        "attn_implementation": spec.attn_implementation,
        **(run.given.get("model_init_kwargs") or {}),
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
        extends=method.extends,
        header=_header(spec, sent, run, strategy, request),
        model=location(run.model_id, facts.model, absolute=absolute),
        dataset=_data(spec.dataset, facts.dataset, absolute=absolute),
        eval_dataset=_data(spec.eval_dataset, facts.eval_dataset, absolute=absolute) if spec.eval_dataset else None,
        eval_fraction=spec.eval_fraction,
        eval_seed=spec.seed,
        arguments=arguments,
        precision=precision.mixed,
        precision_is_set=precision.is_set,
        use_cpu=run.use_cpu,
        dtype=precision.dtype,
        dtype_is_set=run.dtype is not None,
        frozen=not run.trains_weights,
        model_init=_given(model_init) | ({"device_map": None} if method.device_map else {}),
        processing_class=_tokenizer_place(spec, facts, absolute=absolute),
        tokenizer=_loading(spec.tokenizer_source[1], spec),
        chat_template=spec.chat_template,
        tokenizer_class="AutoProcessor" if run.sees else "AutoTokenizer",
        pads_left=type(spec).TRAINING.answers is not None,
        ref_model=_reference(spec, facts, precision, absolute=absolute),
        teacher=_teacher(spec, facts, precision, absolute=absolute),
        reward_model=_reward_model(spec, facts, precision, absolute=absolute),
        value_model=_value_model(spec, facts, absolute=absolute),
        global_batch_size=run.batch.global_size if accumulates else None,
        lora=_new_adapter(spec, run),
        adapter=adapter_to_load(run.lora, facts.adapter, absolute=absolute),
        quantization=quantization_arguments(run.quantization, run.dtype),
        bf16_adapter=run.bf16_adapter,
        model_class=_model_class(run),
        load_options=load_options(method.lora_task, model_init, trusts=bool(spec.trust_remote_code)),
        merge=run.merges,
        merge_dtype=run.dtype or MERGE_DTYPE,
        strategy=strategy,
        sharding=strategy_arguments(strategy),
        downloads=_downloads(spec, run) if machine.world_size > 1 or strategy in SHARDED else {},
        server=vllm_server(run.vllm, machine.server_gpus, decided.arguments.get("vllm_max_model_length")),
        rewards=rewards,
        tools=[_reward(tool, {}) for tool in tools],
        environments=_environments(spec),
        formatting=spec.formatting_func.name if isinstance(spec, FormattedSpec) and spec.formatting_func else None,
        code=_code(code),
        imports=sorted({line for item in code for line in item.imports}),
        num_gpus=machine.num_gpus,
        nodes=request.nodes,
        max_gpus=1 if run.hardware.strategy == "single" or run.use_cpu else run.hardware.num_gpus or 0,
        tracker=run.tracking.report_to,
        tracks_files=tracks_files(run.tracking.report_to),
        tracking=decided.tracking,
        tracked=run.tracking.config,
        pushes=run.output.pushes,
        resume_from_checkpoint=spec.resume_from_checkpoint,
        checkpoints=kept.place,
        resume_every=kept.resume_every,
        keeps_reference=run.syncs_reference,
        card=card_of(spec, sent, facts, run, machine, request),
        compares=bool(arguments.get("eval_on_start")),
    )


def _tokenizer_place(spec: TrainSpec, facts: Facts, *, absolute: bool) -> str | None:
    if spec.processing_class is None:
        return None
    return location(spec.processing_class, facts.processing_class, absolute=absolute)


def _model_class(run: Run) -> str:
    task = run.method.lora_task
    return _VISION_CLASS if task == "CAUSAL_LM" and run.sees else _MODEL_CLASSES[task]


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _new_adapter(spec: TrainSpec, run: Run) -> dict[str, Any] | None:
    arguments = lora_arguments(run.lora, run.method.lora_task)
    # of the model under it, which whoever loads the adapter then gets
    return arguments and arguments | _given({"revision": spec.model_revision})


def _downloads(spec: TrainSpec, run: Run) -> dict[str, str | None]:
    """Every Hub model that the script loads, with its revision."""
    models = {spec.model: spec.model_revision}
    models |= {side.id: side.revision or commit_of(known) for side, known in run.side_models if side.id is not None}
    return {model: revision for model, revision in models.items() if not is_local_path(model)}


def _teacher(spec: TrainSpec, facts: Facts, precision: Precision, *, absolute: bool) -> SideModel | None:
    if not isinstance(spec, TaughtSpec):
        return None
    options = {"revision": spec.teacher_model_revision, **(spec.teacher_model_init_kwargs or {})}
    dtype = options.pop("dtype", None)
    place = location(spec.teacher_model, facts.teacher, absolute=absolute)
    return SideModel(place, dtype or precision.frozen_dtype, dtype is not None, _given(options))


def _reference(spec: TrainSpec, facts: Facts, precision: Precision, *, absolute: bool) -> SideModel | None:
    if not isinstance(spec, ReferencedSpec) or spec.ref_model is None:
        return None
    place = location(spec.ref_model, facts.ref_model, absolute=absolute)
    options = {"attn_implementation": spec.attn_implementation, **_loading(spec.ref_model_revision, spec)}
    return SideModel(place, precision.dtype, spec.dtype is not None, _given(options))


def _reward_model(spec: TrainSpec, facts: Facts, precision: Precision, *, absolute: bool) -> SideModel | None:
    if not isinstance(spec, ScoredSpec):
        return None
    place = location(spec.reward_model, facts.reward_model, absolute=absolute)
    return SideModel(place, precision.frozen_dtype, options=_loading(spec.reward_model_revision, spec))


def _value_model(spec: TrainSpec, facts: Facts, *, absolute: bool) -> SideModel | None:
    if not isinstance(spec, ScoredSpec):
        return None
    start, known, revision = (
        (spec.value_model, facts.value_model, spec.value_model_revision)
        if spec.value_model
        else (spec.reward_model, facts.reward_model, spec.reward_model_revision)
    )
    place = location(start, known, absolute=absolute)
    # it is always trained in full
    return SideModel(place, "float32", dtype_is_set=True, options=_loading(revision, spec))


def _loading(revision: str | None, spec: TrainSpec) -> dict[str, Any]:
    return _given({"revision": revision, "trust_remote_code": spec.trust_remote_code or None})


def _data(dataset: Dataset, facts: DatasetFacts | None, *, absolute: bool) -> Data:
    place = location(dataset.id, facts, absolute=absolute)
    shape = shape_of(dataset, facts) if facts else None
    known = [*(facts.mixed_with if facts else ()), *repeat(None, len(dataset.mixed_with))]
    parts = zip(dataset.mixed_with, known, strict=False)
    common: dict[str, Any] = {
        **dataset.model_dump(include={"split", "columns", "keep_columns", "num_samples", "streaming", "fraction"}),
        "mixed_with": tuple(_data(part, other, absolute=absolute) for part, other in parts),
        "map": _reward(dataset.map, {}) if dataset.map is not None else None,
        "conversions": shape.conversions if shape else (),
    }
    if not is_local_path(dataset.id):
        arguments: dict[str, Any] = {
            "name": dataset.config,
            **dataset.model_dump(include={"data_dir", "data_files", "split", "revision"}),
            "streaming": dataset.streaming or None,
        }
        return Data(place, None, {key: value for key, value in arguments.items() if value is not None}, **common)
    suffix = data_suffix(dataset.id)
    builder = LOADERS[suffix] if suffix else None
    if builder is None and (facts is None or facts.saved is not False):
        return Data(place, "disk", {}, **common)
    arguments = {"sep": "\t"} if suffix == ".tsv" else {}
    arguments |= {"split": dataset.split} | ({"streaming": True} if dataset.streaming else {})
    return Data(place, builder, arguments, **common)


def _environments(spec: TrainSpec) -> str | dict[str, str] | None:
    """The name of what makes the environments, or these names by the names of the environments."""
    factory = spec.environment_factory if isinstance(spec, ActingSpec) else None
    if isinstance(factory, dict):
        return {name: item.name for name, item in factory.items()}
    return factory.name if factory else None


def _code(functions: Sequence[Code]) -> list[str]:
    """What each function or class adds to the script: what several lean on is there once."""
    seen: set[str] = set()
    added: list[str] = []
    for function in functions:
        text = ""
        for source in dict.fromkeys(item.strip("\n") for item in function.sources):
            if source not in seen:
                seen.add(source)
                # assignments stand below each other, definitions apart
                lines = [source, text.rpartition("\n\n")[2]]
                gap = "\n\n\n" if any("\n" in item.strip("\n") for item in lines) else "\n"
                text += f"{gap}{source}" if text else source
        if text:
            added.append(text)
    return added


def _reward(item: str | RewardFunction, judges: Mapping[str, tuple[str, str | None]]) -> Reward:
    if isinstance(item, RewardFunction):
        return Reward("function", item.name)
    builtin = BUILTIN_REWARDS.get(item)
    if builtin is None:
        place, sha = judges.get(item, (item, None))
        return Reward("model", place, _given({"revision": sha}))
    return Reward("factory", item, builtin.arguments) if builtin.arguments else Reward("builtin", item)


def _header(spec: TrainSpec, sent: Mapping[str, Any], run: Run, strategy: str, request: JobRequest) -> Header:
    tested = pins(run.method.family)
    wanted = {package for package in tested.packages if package != "peft" or run.lora is not None}
    wanted = (wanted - TRACKERS.keys()) | (TRACKERS.keys() & {*run.tracking.reporters})
    for item in getattr(spec, "reward_funcs", ()):
        if isinstance(item, str) and item in BUILTIN_REWARDS:
            wanted.update(BUILTIN_REWARDS[item].packages)
    if run.optim in _TORCHAO:
        wanted.add("torchao")
    if run.quantization is not None or is_bitsandbytes(run.optim):
        wanted.add("bitsandbytes")
    if run.vllm is not None:
        wanted.add("vllm")
    if run.sees:
        wanted |= set(VISION_PACKAGES)
    if run.hardware.deepspeed is not None or strategy.startswith("zero"):
        wanted.add("deepspeed")
    if run.liger_kernel:
        wanted.add("liger-kernel")
    if needs_kernels(spec):
        wanted.add("kernels")
    features = {"trl": "vllm"} if run.vllm is not None else {}
    dependencies = sorted(tested.requirement(package, features.get(package, "")) for package in wanted)
    return Header(
        requires_python=tested.requires_python,
        dependencies=(*dependencies, *spec.extra_dependencies),
        exclude_newer=tested.exclude_newer,
        unbounded=tested.unbounded,
        job=job_table(request),
        spec=json.dumps(sent),
        digest=digest_of(sent),
    )
