"""Strategies for several GPUs: the arguments of TRL's config for each.

The values are those of the files that TRL 1.16 ships for ``accelerate launch`` (``trl/accelerate_configs``). A script
passes them to its trainer's config, so that they apply however its processes were started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from hfjobs_trainer.planning.model.optimizers import is_bitsandbytes
from hfjobs_trainer.specs.groups import Hardware

if TYPE_CHECKING:
    from hfjobs_trainer.planning.run import Run

TIMEOUT_SECONDS = 7200
"""How long a process waits for the others: if one of them tokenizes, loads or saves a large dataset or model, that
takes longer than the default half an hour."""

_FSDP: Mapping[str, Any] = {
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "cpu_ram_efficient_loading": True,
    "state_dict_type": "FULL_STATE_DICT",
}
# filled in by the trainer from its own arguments
_FOLLOWS = dict.fromkeys(
    (
        "gradient_accumulation_steps",
        "gradient_clipping",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
    ),
    "auto",
)

SHARDED = ("fsdp1", "fsdp2", "zero1", "zero2", "zero3")
"""Strategies that shard: at least the optimizer states, at most the weights as well."""

SHARDS_WEIGHTS = ("fsdp1", "fsdp2", "zero3")
"""Strategies that shard the weights as well."""


def strategy_arguments(strategy: str) -> dict[str, Any]:
    """Arguments of TRL's config for a strategy of ``SHARDED``; none for any other strategy."""
    if strategy == "fsdp1":
        config = {"version": 1, **_FSDP, "reshard_after_forward": "full_shard", "forward_prefetch": True}
        config |= {"backward_prefetch": "BACKWARD_PRE", "sync_module_states": True, "use_orig_params": True}
        return {"fsdp": True, "fsdp_config": config}
    if strategy == "fsdp2":
        return {"fsdp": True, "fsdp_config": {"version": 2, **_FSDP, "reshard_after_forward": True}}
    if strategy not in SHARDED:
        return {}
    stage = int(strategy.removeprefix("zero"))
    zero: dict[str, Any] = {"stage": stage}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    precision = {"bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}
    return {"deepspeed": {"zero_optimization": zero, **precision, **_FOLLOWS}}


def first_strategy(hardware: Hardware) -> str:
    """The strategy to try first: the user's, or a copy of the model on each GPU."""
    if hardware.strategy != "auto":
        return hardware.strategy
    return "user" if hardware.fsdp or hardware.fsdp_config or hardware.deepspeed else "ddp"


@dataclass(frozen=True, slots=True)
class Spread:
    """How a model is sharded, as far as memory depends on it.

    Attributes:
        strategy: One of ``SHARDED``, or ``"ddp"``.
        reshards: Whether FSDP frees gathered weights between the forward and the backward pass.
        offloads: What is offloaded to host memory.
    """

    strategy: str
    reshards: bool = True
    offloads: Literal["nothing", "optimizer", "all"] = "nothing"


def written_spread(hardware: Hardware) -> Spread | None:
    """What the user's own ``fsdp``, ``fsdp_config`` and ``deepspeed`` mean; ``None`` if that is unclear.

    Read as transformers 5.23 (``training_args.py``: ``_process_fsdp_args``) and DeepSpeed 0.19 do.
    """
    if hardware.deepspeed is not None:
        return None if hardware.fsdp else _written_zero(hardware.deepspeed)
    # without fsdp its configuration is not read
    return _written_fsdp(hardware.fsdp, hardware.fsdp_config or {}) if hardware.fsdp else Spread("ddp")


def _written_zero(config: Mapping[str, Any]) -> Spread | None:
    zero: object = config.get("zero_optimization", {})
    if not isinstance(zero, dict) or config.get("tensor_parallel"):
        return None
    given = cast("dict[str, Any]", zero)
    stage = given.get("stage", 0)
    offloaded = [_waits(given.get(f"offload_{what}")) for what in ("optimizer", "param")]
    # sharding within groups of GPUs, and weights that are kept twice
    grouped = any(name.startswith(("mics_", "zero_hpz_")) for name in given)
    if stage not in (0, 1, 2, 3) or None in offloaded or grouped or offloaded == [False, True]:
        return None
    if not stage:
        return None if any(offloaded) else Spread("ddp")
    return Spread(
        f"zero{int(stage)}", offloads="all" if all(offloaded) else "optimizer" if any(offloaded) else "nothing"
    )


def _waits(offload: object) -> bool | None:
    """Whether an ``offload_*`` of DeepSpeed offloads to the host; ``None`` for anything else."""
    if offload is None:
        return False
    device = cast("dict[str, Any]", offload).get("device", "none") if isinstance(offload, dict) else ""
    return {"none": False, None: False, "cpu": True, "nvme": True}.get(device)


def _written_fsdp(fsdp: bool | str, config: Mapping[str, Any]) -> Spread | None:
    given = {name.removeprefix("fsdp_"): value for name, value in config.items()}
    words = fsdp.lower().split() if isinstance(fsdp, str) else []
    kinds = [word for word in words if word not in ("offload", "auto_wrap")]
    version, default = str(given.get("version", 2)), kinds[0] if kinds else "full_shard"
    kind = str(given.get("reshard_after_forward", default)).lower()
    known = {"full_shard": True, "true": True, "shard_grad_op": False, "false": False}
    if kind == "no_shard" and version == "1":
        return Spread("ddp")
    if kind not in known or version not in ("1", "2") or len(kinds) > 1 or given.get("xla"):
        return None
    offloads = "offload" in words or str(given.get("cpu_offload", False)).lower() == "true"
    return Spread(f"fsdp{version}", known[kind], "all" if offloads else "nothing")


def sharding_strategies(run: Run, *, optim: str | None = None) -> tuple[str, ...]:
    """Strategies that the planner may choose if the model does not fit on one GPU, in order of preference.

    Args:
        run: The run.
        optim: An optimizer to use instead of the run's.
    """
    if run.use_cpu or run.quantization is not None or run.hardware.strategy != "auto" or run.strategy == "user":
        return ()
    if run.method.loads_models:
        return ()
    # DeepSpeed does not start without a CUDA toolkit, which the default image lacks
    possible = ("fsdp2", "zero2", "zero3") if run.image else ("fsdp2",)
    found = [name for name in possible if updates_parts(optim or run.optim, name)]
    return tuple(name for name in found if name != "zero3" or not run.zero3_obstacles)


def updates_parts(optim: str, strategy: str) -> bool:
    """Whether the optimizer supports the parameters under a strategy.

    FSDP2 makes them distributed tensors, which bitsandbytes' kernels do not support.
    """
    return strategy != "fsdp2" or not is_bitsandbytes(optim)
