"""Decide what the user left open, and record why; what the user set is never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.arguments.precision import Precision, explain_precision
from hfjobs_trainer.planning.arguments.strategies import SHARDED, TIMEOUT_SECONDS
from hfjobs_trainer.planning.arguments.trackers import resolve_tracking, tracking_arguments
from hfjobs_trainer.planning.arguments.vllm import decide_image, vllm_arguments
from hfjobs_trainer.planning.hardware.machine import Machine
from hfjobs_trainer.planning.layout import Layout, eval_batch_size, syncs_each_batch
from hfjobs_trainer.planning.names import basename, default_output_dir
from hfjobs_trainer.planning.plan import Decide, Decision
from hfjobs_trainer.planning.run import Run

# Arguments of TRL's config that templates write themselves.
_WRITTEN_APART = {"model_init_kwargs", "resume_from_checkpoint", "use_cpu"}

_FUSED = "adamw_torch_fused"


@dataclass(frozen=True, slots=True)
class Decided:
    """A run with everything decided.

    Attributes:
        arguments: Arguments of TRL's config, in the order in which a script lists them.
        tracking: Arguments of the script's ``track``; ``None`` without a tracker.
        needs_token: Reasons why the script needs HF_TOKEN; empty if it does not.
        decisions: What was decided and why.
    """

    arguments: dict[str, Any]
    tracking: dict[str, Any] | None
    needs_token: tuple[str, ...]
    decisions: tuple[Decision, ...] = field(default=())


def decide_arguments(
    run: Run, machine: Machine, precision: Precision, layout: Layout | None, *, is_planned: bool, backend: BackendTraits
) -> Decided:
    """Decide everything that the spec leaves open, for this machine.

    Args:
        run: The run.
        machine: The machine.
        precision: The run's precision on it.
        layout: The layout of the run on the machine; ``None`` if no batch can be formed.
        is_planned: Whether the layout was chosen because it fits, and not by TRL's defaults.
        backend: Where it will run.
    """
    decisions: list[Decision] = []

    def decide(path: str, value: Any, why: str) -> Any:
        decisions.append(Decision(path, value, why))
        return value

    arguments = {name: value for name, value in run.given.items() if name not in _WRITTEN_APART}
    if run.output_dir is None:
        default = default_output_dir(run.model_id, run.method)
        # one that was set to None is left open too
        rest = {name: value for name, value in arguments.items() if name != "output_dir"}
        arguments = {"output_dir": decide("output_dir", default, "named after the model and the method"), **rest}
    explain_precision(run, precision, machine.flavor, decide)
    world_size, strategy = machine.world_size, layout.strategy if layout is not None else run.strategy
    if run.hardware.strategy == "auto" and world_size > 1:
        fits = "each GPU holds a copy of the model" if strategy == "ddp" else "the whole model does not fit on one GPU"
        decide("hardware.strategy", strategy, fits)
    if (world_size > 1 or strategy in SHARDED) and not run.timeout_is_set:
        why = "seconds that processes wait for another to load, tokenize or save"
        arguments["ddp_timeout"] = decide("ddp_timeout", TIMEOUT_SECONDS, why)
    if layout is not None:
        arguments |= _lay_out(run, layout, world_size, decide, is_planned=is_planned)
        if layout.packing:
            why = "the run costs less with several short rows in one sequence; rows do not attend to each other"
            arguments["packing"] = decide("packing", True, why)
    if not run.optim_is_set and run.optim == _FUSED:
        decide("optim", _FUSED, "TRL's default: one kernel updates all parameters")
    arguments |= vllm_arguments(run.vllm, machine, layout if is_planned else None, decide)
    if run.lifts_max_length:
        arguments["max_length"] = decide("max_length", None, "truncating a row may remove tokens of its image")
    decisions += run.lora_choices
    if backend.rents:
        decide_image(run, decide)
    arguments |= _push(run, arguments["output_dir"], decide)
    tracking = resolve_tracking(
        run.tracking, arguments["output_dir"], arguments.get("hub_model_id"), run.namespace, backend, decide
    )
    arguments |= tracking_arguments(run.tracking.reporters, tracking)
    hardware = run.hardware.model_dump(mode="json", include=set(_AS_GIVEN))
    arguments |= {name: hardware[name] for name in _AS_GIVEN if hardware[name] is not None}
    arguments["disable_tqdm"] = True
    return Decided(arguments, tracking, _token_reasons(run, tracking), tuple(decisions))


_AS_GIVEN = ("fsdp", "fsdp_config", "deepspeed", "accelerator_config")


def _lay_out(run: Run, layout: Layout, world: int, decide: Decide, *, is_planned: bool) -> dict[str, Any]:
    """Arguments for the batch, gradient checkpointing and checkpoints."""
    arguments: dict[str, Any] = {}
    batch = run.batch
    per_device, steps = layout.per_device_train_batch_size, layout.gradient_accumulation_steps
    wanted = batch.global_size
    usual = wanted is None and per_device == batch.per_device
    if not batch.per_device_is_set and not usual:
        why = f"the largest up to TRL's default of {batch.per_device} that divides the global batch"
        if is_planned:
            why = "the fastest of those that fit, as estimated"
        arguments["per_device_train_batch_size"] = decide("per_device_train_batch_size", per_device, why)
    if not batch.accumulation_is_set and not usual:
        gpus = f" on {world} GPUs" if world > 1 else ""
        whose = "" if wanted else ", TRL's default"
        why = f"{per_device * steps * world} sequences per optimizer step{whose}, {per_device} at a time{gpus}"
        arguments["gradient_accumulation_steps"] = decide("gradient_accumulation_steps", steps, why)
    told = batch.per_device_is_set and batch.accumulation_is_set
    if usual and world > 1 and not told:
        why = f"TRL's default of {per_device} per device on {world} GPUs; it grows with their number unless you set it"
        decide("global_batch_size", per_device * steps * world, why)
    if is_planned and run.may_keep_activations and not layout.gradient_checkpointing:
        why = "the activations fit in memory, so none need to be recomputed"
        arguments["gradient_checkpointing"] = decide("gradient_checkpointing", False, why)
    evaluated = eval_batch_size(run, layout)
    if run.evaluation.has_set and evaluated != batch.eval_per_device:
        why = "a larger batch than in training might not fit"
        arguments["per_device_eval_batch_size"] = decide("per_device_eval_batch_size", evaluated, why)
    if layout.save_total_limit is not None:
        why = "the disk cannot hold all checkpoints of the run"
        arguments["save_total_limit"] = decide("save_total_limit", layout.save_total_limit, why)
    if syncs_each_batch(run, layout):
        why = "otherwise each GPU holds all gradients until the last batch of a step"
        config = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
        arguments["accelerator_config"] = decide("hardware.accelerator_config", config, why)
    return arguments


def _push(run: Run, output_dir: str, decide: Decide) -> dict[str, Any]:
    """Arguments for the model's repository; none if it is not pushed."""
    output = run.output
    if not output.pushes:
        return {}
    arguments: dict[str, Any] = {"push_to_hub": True}
    if output.hub_model_id is not None:
        arguments["hub_model_id"] = output.hub_model_id
    elif run.namespace is not None:
        repo = f"{run.namespace}/{basename(output_dir)}"
        arguments["hub_model_id"] = decide("output.hub_model_id", repo, "namespace and name of output_dir")
    arguments["hub_private_repo"] = output.private
    if "private" not in output.model_fields_set:
        decide("output.private", True, "nothing is published unless you say so")
    if output.hub_strategy is not None:
        arguments["hub_strategy"] = output.hub_strategy
    elif output.checkpoints == "hub":
        why = "checkpoints are kept in the repository as the run goes on, and the model is pushed at its end"
        arguments["hub_strategy"] = decide("output.hub_strategy", "end", why)
    elif run.merges == "only":
        why = "only the merged model is pushed, never an adapter next to it"
        arguments["hub_strategy"] = decide("output.hub_strategy", "end", why)
    return arguments


def _token_reasons(run: Run, tracking: dict[str, Any] | None) -> tuple[str, ...]:
    reasons = ["it pushes the model"] if run.output.pushes else []
    if tracking is not None and tracking.get("space_id"):
        reasons.append("it logs to a Space")
    return tuple(dict.fromkeys((*reasons, *run.private_inputs)))
