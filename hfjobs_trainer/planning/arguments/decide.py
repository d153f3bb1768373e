"""Fill in what the user left open, and record why; what the user set is never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hfjobs_trainer.facts import Facts, Flavor
from hfjobs_trainer.planning.arguments.packing import speed_arguments
from hfjobs_trainer.planning.arguments.strategies import SHARDED, TIMEOUT_SECONDS, first_strategy
from hfjobs_trainer.planning.arguments.trackers import resolve_tracking, tracking_arguments
from hfjobs_trainer.planning.arguments.tuning import ALL_LINEAR, merges, trains_weights
from hfjobs_trainer.planning.arguments.vision import chooses_targets, vision_arguments
from hfjobs_trainer.planning.arguments.vllm import (
    gpus_set_aside,
    image_decision,
    server_gpus,
    training_nodes,
    vllm_arguments,
)
from hfjobs_trainer.planning.layout import Layout, eval_batch_size, may_keep_activations, syncs_each_batch, usual_layout
from hfjobs_trainer.planning.names import basename, file_name
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.specs.base import DType, TrainSpec
from hfjobs_trainer.specs.locations import is_local_path

Precision = Literal["bf16", "fp16", "fp32"]

# Arguments of TRL's config that the script writes in its own way.
_WRITTEN_APART = {"model_init_kwargs", "resume_from_checkpoint", "use_cpu"}

# dtype of weights that are not trained, by the precision of the arithmetic: half the memory at no loss.
_FROZEN: dict[Precision, DType] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A spec with everything decided.

    Attributes:
        arguments: Arguments of TRL's config, in the order in which a script lists them.
        precision, precision_is_set: Mixed precision, ``"bf16"``, ``"fp16"`` or ``"fp32"``, and whether the user set it.
        dtype: dtype in which the weights are loaded.
        frozen_dtype: dtype of a model that is not trained, such as a teacher.
        num_gpus: GPUs that will train; 0 where the machine decides.
        strategy: How the model is spread over them, as in ``hft.Hardware``, never ``"auto"``.
        tracking: What the script's ``track`` takes; ``None`` without a tracker.
        namespace: Whose job, model and Space it is; ``None`` where unknown.
        needs_token: Why the script needs HF_TOKEN; empty if it does not.
        decisions: What was decided and why.
        num_nodes: Machines that train together.
        server_gpus: GPUs of the run's own vLLM server; 0 without one.
    """

    arguments: dict[str, Any]
    precision: Precision
    precision_is_set: bool
    dtype: DType
    frozen_dtype: DType
    num_gpus: int
    strategy: str
    tracking: dict[str, Any] | None
    namespace: str | None
    needs_token: tuple[str, ...]
    decisions: tuple[Decision, ...] = field(default=())
    num_nodes: int = 1
    server_gpus: int = 0

    @property
    def world_size(self) -> int:
        """GPUs that train, over all machines; one on each where nobody knows better."""
        return max(1, self.num_gpus) * self.num_nodes


def precision_of(spec: TrainSpec, flavor: Flavor | None) -> tuple[Precision, bool]:
    """Mixed precision and whether the user set it; TRL's own default is bf16."""
    if spec.bf16 is not None or spec.is_set("fp16"):
        return ("bf16" if spec.bf16 else "fp16" if spec.fp16 else "fp32" if spec.bf16 is False else "bf16"), True
    if spec.use_cpu or (flavor is not None and not flavor.num_gpus):
        return "fp32", False
    return ("fp16" if flavor is not None and not flavor.bf16 else "bf16"), False


def planned_gpus(spec: TrainSpec, flavor: Flavor | None) -> int:
    """GPUs that will train on this flavor; 0 where no flavor is known."""
    if flavor is None:
        return 0
    most = 1 if spec.hardware.strategy == "single" else spec.hardware.num_gpus or flavor.num_gpus
    return min(max(flavor.num_gpus - gpus_set_aside(spec), 1), flavor.num_gpus, most)


def resolve(
    spec: TrainSpec, facts: Facts, flavor: Flavor | None, *, backend: str, layout: Layout | None = None
) -> Resolved:
    """Decide everything that the spec leaves open, for this machine.

    Args:
        spec: The spec.
        facts: What is known of the outside.
        flavor: The machine; ``None`` where it is not known.
        backend: ``"hub"`` or ``"local"``.
        layout: How the run is laid out on the machine; ``None`` where nobody knows what fits: by TRL's defaults.
    """
    decisions: list[Decision] = []

    def decide(path: str, value: Any, why: str) -> Any:
        decisions.append(Decision(path, value, why))
        return value

    arguments = {name: value for name, value in spec.trl_arguments().items() if name not in _WRITTEN_APART}
    if spec.output_dir is None:
        default = f"{file_name(basename(spec.model)) or 'model'}-{type(spec).METHOD.label}"
        arguments = {"output_dir": decide("output_dir", default, "named after the model and the method"), **arguments}

    precision, is_set = precision_of(spec, flavor)
    if not is_set:
        if precision == "fp32":
            decide("bf16", False, "mixed precision is for GPUs")
        elif precision == "fp16":
            decide("fp16", True, f"{flavor.gpu if flavor else 'the GPU'} does not compute in bfloat16")
        else:
            decide("bf16", True, "TRL's default")
    dtype = spec.dtype or decide("dtype", *_dtype(spec, precision))
    num_gpus = planned_gpus(spec, flavor)
    nodes = training_nodes(spec)
    world_size = (num_gpus or 1) * nodes
    strategy = layout.strategy if layout else first_strategy(spec)
    if spec.hardware.strategy == "auto" and world_size > 1:
        fits = "each GPU holds a copy of the model" if strategy == "ddp" else "no GPU holds the whole model"
        decide("hardware.strategy", strategy, fits)
    if (world_size > 1 or strategy in SHARDED) and not spec.is_set("ddp_timeout"):
        why = "seconds that the processes wait for one that loads, tokenizes or saves"
        arguments["ddp_timeout"] = decide("ddp_timeout", TIMEOUT_SECONDS, why)
    arguments |= _lay_out(spec, layout, num_gpus or 1, decide)
    packing = layout is not None and layout.packing
    arguments |= speed_arguments(spec, decide, packing=packing)
    arguments |= vllm_arguments(spec, facts.model, flavor, layout, decide) | vision_arguments(spec, facts, decide)
    if chooses_targets(spec, facts):
        decide("lora.target_modules", ALL_LINEAR, "PEFT has no choice of its own for most vision models")
    if (image := image_decision(spec, backend)) is not None:
        decisions.append(image)

    namespace = spec.namespace or facts.account.name
    pushes = spec.output.pushes
    if pushes:
        arguments |= {"push_to_hub": True}
        if spec.output.hub_model_id is not None:
            arguments["hub_model_id"] = spec.output.hub_model_id
        elif namespace is not None:
            repo = f"{namespace}/{basename(arguments['output_dir'])}"
            arguments["hub_model_id"] = decide("output.hub_model_id", repo, "namespace and name of output_dir")
        arguments["hub_private_repo"] = spec.output.private
        if not _given(spec.output, "private"):
            decide("output.private", True, "nothing is published unless you say so")
        if spec.output.hub_strategy is not None:
            arguments["hub_strategy"] = spec.output.hub_strategy
        elif merges(spec) == "only":
            why = "the repository gets the merged model alone, never an adapter beside it"
            arguments["hub_strategy"] = decide("output.hub_strategy", "end", why)
    output_dir, repo = arguments["output_dir"], arguments.get("hub_model_id")
    tracking = resolve_tracking(spec.tracking, output_dir, repo, namespace, backend, decide)
    arguments |= tracking_arguments(spec.tracking.report_to, tracking)
    hardware = spec.hardware.model_dump(mode="json")
    for name in ("fsdp", "fsdp_config", "deepspeed", "accelerator_config"):
        if hardware[name] is not None:
            arguments[name] = hardware[name]
    arguments["disable_tqdm"] = True

    return Resolved(
        arguments=arguments,
        precision=precision,
        precision_is_set=is_set,
        dtype=dtype,
        frozen_dtype=_FROZEN[precision],
        num_gpus=num_gpus,
        strategy=strategy,
        tracking=tracking,
        namespace=namespace,
        needs_token=_token_reasons(spec, facts, pushes, tracking),
        decisions=tuple(decisions),
        num_nodes=nodes,
        server_gpus=server_gpus(spec, facts.model, flavor),
    )


def _dtype(spec: TrainSpec, precision: Precision) -> tuple[DType, str]:
    if spec.lora is None:
        return "float32", "weights that are trained keep full precision; the arithmetic is mixed"
    if precision == "fp16" and trains_weights(spec):
        return "float32", "fp16 arithmetic cannot train weights of 16 bits, and some are trained beside the adapter"
    return _FROZEN[precision], "the base under the adapter is frozen: half the memory at no loss"


def _lay_out(spec: TrainSpec, layout: Layout | None, num_gpus: int, decide: Any) -> dict[str, Any]:
    """Arguments for the batch and for recomputing; a rule reports a batch that cannot be formed."""
    chosen = layout or usual_layout(spec, num_gpus, nodes=training_nodes(spec))
    if chosen is None:
        return {}
    arguments: dict[str, Any] = {}
    per_device, steps = chosen.per_device_train_batch_size, chosen.gradient_accumulation_steps
    wanted, world = spec.global_batch_size, num_gpus * training_nodes(spec)
    usual = wanted is None and per_device == spec.per_device_train_batch_size
    if not spec.is_set("per_device_train_batch_size") and not usual:
        why = f"the largest up to TRL's {spec.per_device_train_batch_size} that divides the global batch"
        if layout is not None:
            why = "what the estimate says is the fastest of those that fit"
        arguments["per_device_train_batch_size"] = decide("per_device_train_batch_size", per_device, why)
    if not spec.is_set("gradient_accumulation_steps") and not usual:
        gpus = f" on {world} GPUs" if world > 1 else ""
        whose = "" if wanted else ", TRL's default"
        total = per_device * steps * world
        why = f"{total} sequences per optimiser step{whose}, {per_device} at a time{gpus}"
        arguments["gradient_accumulation_steps"] = decide("gradient_accumulation_steps", steps, why)
    told = spec.is_set("per_device_train_batch_size") and spec.is_set("gradient_accumulation_steps")
    if usual and world > 1 and not told:
        why = f"TRL's default, {per_device} per device, on {world} GPUs: it grows with them unless you set it"
        decide("global_batch_size", per_device * steps * world, why)
    if layout is not None and may_keep_activations(spec) and not layout.gradient_checkpointing:
        why = "the activations fit, so nothing needs to be computed twice"
        arguments["gradient_checkpointing"] = decide("gradient_checkpointing", False, why)
    evaluated = eval_batch_size(spec, chosen)
    if spec.evaluates and evaluated != spec.per_device_eval_batch_size:
        why = "a larger batch than in training might not fit"
        arguments["per_device_eval_batch_size"] = decide("per_device_eval_batch_size", evaluated, why)
    if chosen.save_total_limit is not None:
        why = "the disk does not hold all checkpoints of the run"
        arguments["save_total_limit"] = decide("save_total_limit", chosen.save_total_limit, why)
    if syncs_each_batch(spec, chosen):
        why = "else each GPU holds all gradients until the last batch of a step"
        config = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
        arguments["accelerator_config"] = decide("hardware.accelerator_config", config, why)
    return arguments


def _token_reasons(spec: TrainSpec, facts: Facts, pushes: bool, tracking: Mapping[str, Any] | None) -> tuple[str, ...]:
    reasons: list[str] = []
    if pushes:
        reasons.append("it pushes the model")
    if tracking is not None and tracking.get("space_id"):
        reasons.append("it logs to a Space")
    for what, subject in (
        ("model", facts.model),
        ("teacher", facts.teacher),
        ("reward model", facts.reward_model),
        ("value model", facts.value_model),
        *(("reward model", judge) for judge in facts.reward_models),
        ("adapter", facts.adapter),
        ("dataset", facts.dataset),
        ("evaluation dataset", facts.eval_dataset),
    ):
        if subject is not None and (subject.private or subject.gated):
            reasons.append(f"the {what} is {'private' if subject.private else 'gated'}")
    return tuple(dict.fromkeys(reasons))


def _given(group: Any, name: str) -> bool:
    return name in group.model_fields_set


def is_hub_id(location: str) -> bool:
    """Whether a model or dataset is on the Hub, by the way it is written."""
    return not is_local_path(location)
