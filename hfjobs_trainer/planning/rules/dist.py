"""Rules about a model that is spread over several GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.arguments.strategies import SHARDED, SHARDS_WEIGHTS, updates_parts
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change

_PATH = "hardware.strategy"
_WRITTEN = ("fsdp", "fsdp_config", "deepspeed")


@rule("DIST001", scope="remote")
def spreading_needs_several_gpus(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model is spread over several GPUs, not over one.

    What it does:
        Refuses the strategies `fsdp1`, `fsdp2`, `zero1`, `zero2` and `zero3` on one node whose flavor has one GPU,
        with `num_gpus=1` and with `use_cpu`.

    Why:
        There is nothing to share with: FSDP refuses to start, DeepSpeed only adds its overhead.

    Example:
        ```python
        hft.Hardware(flavor="a100-large", strategy="fsdp2")
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a100x4", strategy="fsdp2")
        ```
    """
    hardware = context.spec.hardware
    if hardware.strategy not in SHARDED:
        return
    flavor = context.named_flavor
    alone = context.run.nodes == 1
    if flavor is not None and flavor.num_gpus <= (1 if alone else 0):
        why = f"{flavor.name} has {'one GPU' if flavor.num_gpus else 'no GPU'}, so there is nothing to shard over"
        yield Found(_PATH, why, change(context.spec, {_PATH: "auto"}))
    elif (alone and hardware.num_gpus == 1) or context.spec.use_cpu:
        what = "use_cpu" if context.spec.use_cpu else "num_gpus=1"
        fix = change(context.spec, {_PATH: "auto"})
        yield Found(_PATH, f"{what} leaves nothing to shard over", fix)


@rule("DIST002")
def quantized_weights_stay_whole(context: Context[TrainSpec]) -> Iterator[Found]:
    """Quantized weights are not cut into parts.

    What it does:
        Refuses `quantization` with the strategies that spread the weights: `fsdp1`, `fsdp2` and `zero3`.

    Why:
        bitsandbytes packs weights into bytes together with their scales. 8-bit weights cannot be cut at all; 4-bit ones
        only in another storage format, in which each strategy has its own pitfalls. A copy on each GPU is small enough
        for all but the largest models: 4-bit weights of 70 billion parameters take 40 GiB.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), quantization="4bit", hardware=hft.Hardware(strategy="zero3"))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), quantization="4bit", hardware=hft.Hardware(strategy="ddp"))
        ```
        or, with the weights spread in full precision:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), hardware=hft.Hardware(strategy="fsdp2"))
        ```
    """
    spec, written = context.spec, context.run.spread
    if spec.quantization is None:
        return
    why = "{} would shard quantized weights apart from their scales"
    if spec.hardware.strategy in SHARDS_WEIGHTS:
        yield Found(_PATH, why.format(spec.hardware.strategy), change(spec, {_PATH: "auto"}))
    elif written is not None and written.strategy in SHARDS_WEIGHTS:
        named = [name for name in _WRITTEN if getattr(spec.hardware, name) is not None]
        again = {f"hardware.{name}": REMOVE for name in named}
        again |= {_PATH: "auto"} if spec.hardware.strategy == "user" else {}
        yield Found(f"hardware.{named[0]}", why.format(f"{named[0]} ({written.strategy})"), change(spec, again))


@rule("DIST003")
def the_optimizer_works_on_parts(context: Context[TrainSpec]) -> Iterator[Found]:
    """The optimizer can work on parts of the parameters.

    What it does:
        Refuses bitsandbytes' optimizers (`paged_*`, `*_8bit`, `*_bnb*`, `lion_*`, `ademamix*`) with `fsdp2`, which
        `auto` never chooses for them.

    Why:
        FSDP2 hands out parameters as distributed tensors, which bitsandbytes' kernels do not know.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., optim="adamw_8bit", hardware=hft.Hardware(strategy="fsdp2"))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., optim="adamw_torch_fused", hardware=hft.Hardware(strategy="fsdp2"))
        ```
    """
    spec = context.spec
    if not updates_parts(spec.optim, spec.hardware.strategy):
        why = f"{spec.optim} is an optimizer of bitsandbytes, which cannot update FSDP2's sharded parameters"
        yield Found("optim", why, 'optim="adamw_torch_fused"')


@rule("DIST004")
def checkpointing_fits_zero3(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter under ZeRO-3 recomputes whole layers.

    What it does:
        Refuses `gradient_checkpointing_kwargs={"selective": True}` and a merged start with `lora` and `zero3`.

    Why:
        ZeRO-3 needs the reentrant form of recomputation there, which selects nothing; TRL refuses it once the model is
        loaded. And an adapter cannot be merged into weights of which each process holds a part.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), gradient_checkpointing_kwargs={"selective": True},
                hardware=hft.Hardware(strategy="zero3"))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), hardware=hft.Hardware(strategy="zero3"))
        ```
    """
    if context.spec.hardware.strategy != "zero3":
        return
    for name in context.run.zero3_obstacles:
        if name == "lora.merge_first":
            why = "an adapter cannot be merged into weights that zero3 shards"
            yield Found(name, why, change(context.spec, {_PATH: "auto"}))
        else:
            fix = change(context.spec, {f"{name}.selective": REMOVE})
            yield Found(name, "ZeRO-3 with an adapter recomputes whole layers", fix)


@rule("DIST005")
def one_strategy(context: Context[TrainSpec]) -> Iterator[Found]:
    """A strategy is named, or written out, not both.

    What it does:
        Refuses `fsdp`, `fsdp_config` and `deepspeed` beside any strategy but `"user"` and `"auto"`.

    Why:
        Each is a strategy of its own; one of the two would be dropped.

    Example:
        ```python
        hft.Hardware(strategy="zero3", deepspeed={"zero_optimization": {"stage": 2}})
        ```

    Use instead:
        ```python
        hft.Hardware(strategy="user", deepspeed={"zero_optimization": {"stage": 2}})
        ```
    """
    hardware = context.spec.hardware
    if hardware.strategy in ("user", "auto"):
        return
    own = (("fsdp", hardware.fsdp), ("fsdp_config", hardware.fsdp_config), ("deepspeed", hardware.deepspeed))
    for name, given in own:
        if given:
            fix = change(context.spec, {_PATH: "user"})
            yield Found(f"hardware.{name}", f'contradicts strategy="{hardware.strategy}"', fix)


@rule("DIST006", methods=["ppo"])
def ppo_keeps_its_models_whole(context: Context[TrainSpec]) -> Iterator[Found]:
    """PPO keeps its models whole.

    What it does:
        Refuses `fsdp1`, `fsdp2`, `zero1`, `zero2` and `zero3` for PPO.

    Why:
        Its trainer wraps policy and value model into one and generates from a part of it, which was run with a copy on
        each GPU only.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., hardware=hft.Hardware(strategy="fsdp2"))
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., lora=hft.LoRA())
        ```
    """
    if context.spec.hardware.strategy in SHARDED:
        yield Found(_PATH, "PPO's models cannot be sharded", change(context.spec, {_PATH: "auto"}))
