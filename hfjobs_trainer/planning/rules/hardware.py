"""Rules about the machine: its flavor, its price, its GPUs and their memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hfjobs_trainer.facts import Flavor, HardwareFacts
from hfjobs_trainer.planning.arguments.strategies import sharding_strategies
from hfjobs_trainer.planning.arguments.vllm import gpus_set_aside, training_nodes
from hfjobs_trainer.planning.flavors import find_flavor, snapshot, suggest_flavors
from hfjobs_trainer.planning.memory.estimate import Verdict
from hfjobs_trainer.planning.memory.storage import CHECKPOINTS_KEPT
from hfjobs_trainer.planning.workload import unknown_memory
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context

_PATH = "hardware.flavor"
# An optimizer that works on the parts of a spread model: TRL's default.
_ANY_STRATEGY = "adamw_torch_fused"


def _offered(context: Context[TrainSpec]) -> HardwareFacts:
    return context.facts.hardware or snapshot()


def _named(context: Context[TrainSpec]) -> Flavor | None:
    """The flavor that the user named; ``None`` for "auto" and for one that nobody offers."""
    return find_flavor(context.spec.hardware.flavor, _offered(context))


@rule("HW001", scope="remote", scripts=True)
def flavor_exists(context: Context[TrainSpec]) -> Iterator[Found]:
    """The flavor is one that Hugging Face Jobs offers.

    What it does:
        Refuses a flavor that is not in the table (the live one where the Hub could be asked), and suggests what may be
        meant.

    Why:
        The client sends any text; only the server refuses it.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., hardware="h100")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., hardware="h200")
        ```
    """
    name = context.spec.hardware.flavor
    if name == "auto" or _named(context) is not None:
        return
    near = suggest_flavors(name, _offered(context))
    fix = " or ".join(f'"{flavor}"' for flavor in near) if near else '"auto"; hft.hardware_table() lists them all'
    yield Found(_PATH, f'Hugging Face Jobs offers no "{name}" ({_offered(context).source})', fix)


@rule("HW002", scope="remote")
def training_needs_a_gpu(context: Context[TrainSpec]) -> Iterator[Found]:
    """Training needs a GPU.

    What it does:
        Refuses a flavor without a CUDA GPU, unless `use_cpu=True` says that it is meant.

    Why:
        On a CPU even a small model takes days, and the job is paid by the hour.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., hardware="cpu-upgrade")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., hardware="auto")
        ```
    """
    flavor = _named(context)
    if flavor is not None and not flavor.num_gpus and not context.spec.use_cpu:
        has = "no GPU" if flavor.gpu is None else f"a {flavor.gpu}, which is no CUDA GPU"
        yield Found(_PATH, f"{flavor.name} has {has}", '"auto", or use_cpu=True if you mean it')


@rule("HW003", stage="run", scope="remote")
def some_flavor_fits(context: Context[TrainSpec]) -> Iterator[Found]:
    """Some flavor fits the run.

    What it does:
        Where the flavor is chosen for you, reports that none fits, and why the closest does not.

    Why:
        Each GPU holds the model, its gradients and its optimizer, or its part of them; there is a size that not even
        the largest machine on offer holds.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-70B", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-70B", dataset=..., lora=hft.LoRA(), per_device_train_batch_size=1)
        ```
    """
    choice, spec = context.choice, context.spec
    if spec.hardware.flavor != "auto" or choice is None or choice.flavor is not None or choice.estimate is None:
        return
    if choice.cheapest is not None:
        # some would do, but for a cap on the whole run, of which other rules tell
        return
    reasons: dict[str, str] = dict(choice.rejected)
    sizes = {
        flavor.name: flavor.num_gpus * (flavor.usable_gpu_memory_gib or 0.0) for flavor in _offered(context).flavors
    }
    small = [name for name, why in reasons.items() if why.startswith("needs ")]
    dear = [name for name, why in reasons.items() if "max_usd_per_hour" in why]
    closest = max(small, key=lambda name: sizes[name]) if small else dear[0] if dear else list(reasons)[-1]
    fixes = [f"max_usd_per_hour above {spec.hardware.max_usd_per_hour:g}"] if dear else []
    if small:
        fixes += _less_disk(spec) if "checkpoints" in reasons[closest] else _ways(spec)
    if not fixes:
        fixes = ["another global_batch_size"] if "global_batch_size" in reasons[closest] else ["fewer GPUs"]
    yield Found(_PATH, f"no flavor fits; the closest, {closest}: {reasons[closest]}", ", or ".join(fixes))


@rule("HW004", stage="run", scope="remote")
def unknown_size_needs_a_flavor(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model of unknown size needs a named flavor.

    What it does:
        Asks for a flavor where it should be chosen for you, but nobody knows how large the model is, or one
        beside it (a teacher, a reward model), or how an `fsdp` or `deepspeed` of yours spreads it.

    Why:
        Guessing would either waste money or run out of memory. The size is read from the model's safetensors files or
        its `config.json`; offline, or for a repository without either, it is unknown.

    Example:
        ```python
        hft.plan(hft.SFT(model="me/pickled-model", dataset=...))
        ```

    Use instead:
        ```python
        hft.plan(hft.SFT(model="me/pickled-model", dataset=..., hardware="a10g-large"))
        ```
    """
    choice = context.choice
    if context.spec.hardware.flavor == "auto" and choice is not None and choice.flavor is None and not context.memory:
        why = f"nobody knows {_unknown(context)}, so no flavor could be chosen"
        yield Found(_PATH, why, 'hardware="a10g-large", or another of hft.hardware_table()')


@rule("HW005", scope="remote", scripts=True)
def named_flavor_is_within_the_price(context: Context[TrainSpec]) -> Iterator[Found]:
    """A named flavor costs no more than is allowed.

    What it does:
        Refuses a flavor whose hourly price is above `max_usd_per_hour`.

    Why:
        The two contradict each other.

    Example:
        ```python
        hft.Hardware(flavor="a100-large", max_usd_per_hour=2)
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="auto", max_usd_per_hour=2)
        ```
    """
    flavor, limit = _named(context), context.spec.hardware.max_usd_per_hour
    if flavor is not None and limit is not None and flavor.usd_per_hour > limit:
        why = f"{flavor.name} costs ${flavor.usd_per_hour:.2f}/h, above max_usd_per_hour={limit:g}"
        yield Found("hardware.max_usd_per_hour", why, f'{flavor.usd_per_hour:g}, or flavor="auto"')


@rule("HW006", scope="remote")
def strategy_fits_the_gpus(context: Context[TrainSpec]) -> Iterator[Found]:
    """The strategy uses the GPUs that are paid for.

    What it does:
        Refuses `strategy="single"` on a flavor with several GPUs, `strategy="ddp"` on one node with a single GPU,
        and `strategy="user"` without `fsdp` or `deepspeed`.

    Why:
        Idle GPUs cost as much as busy ones, and a strategy that cannot be followed would be dropped without a word.

    Example:
        ```python
        hft.Hardware(flavor="a10g-largex4", strategy="single")
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-large", strategy="single")
        ```
    """
    hardware, flavor = context.spec.hardware, _named(context)
    path = "hardware.strategy"
    if flavor is not None and hardware.strategy == "single" and flavor.num_gpus > 1:
        why = f"{flavor.num_gpus - 1} of the {flavor.num_gpus} GPUs of {flavor.name} would idle"
        yield Found(path, why, '"auto", or a flavor with one GPU')
    if flavor is not None and hardware.strategy == "ddp" and flavor.num_gpus == training_nodes(context.spec) == 1:
        yield Found(path, f"{flavor.name} has one GPU only", '"auto", or a flavor with several GPUs')
    if hardware.strategy == "user" and not (hardware.fsdp or hardware.fsdp_config or hardware.deepspeed):
        yield Found(path, "neither fsdp nor deepspeed is given", '"auto", or fsdp=..., or deepspeed={...}')


@rule("HW007", scope="remote", scripts=True)
def flavor_has_the_gpus(context: Context[TrainSpec]) -> Iterator[Found]:
    """The named flavor has as many GPUs as the run is to use.

    What it does:
        Refuses a `num_gpus` above the number of GPUs of the named flavor, less those that a vLLM server takes.

    Why:
        The run would go on with the GPUs that there are, and a batch would be smaller than was meant.

    Example:
        ```python
        hft.Hardware(flavor="a10g-large", num_gpus=4)
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-largex4", num_gpus=4)
        ```
        or, for the cheapest machine that has them and on which the run fits:
        ```python
        hft.Hardware(flavor="auto", num_gpus=4)
        ```
    """
    flavor, wanted = _named(context), context.spec.hardware.num_gpus
    if flavor is None or not flavor.num_gpus or wanted is None:
        return
    # the server's own rule tells of a machine that has no GPU beside it
    taken = gpus_set_aside(context.spec)
    left = flavor.num_gpus - taken
    if 0 < left < wanted:
        of = f"{left}, beside {taken} of the vLLM server" if taken else str(left)
        larger = [item.name for item in _offered(context).flavors if item.num_gpus - taken >= wanted]
        fixes = [f"num_gpus={left}", *([f'flavor="{larger[0]}"'] if larger else [])]
        yield Found("hardware.num_gpus", f"{flavor.name} has {of}", ", or ".join(fixes))


@rule("HW008", stage="run", scope="remote", severity="warning")
def host_and_disk_are_large_enough(context: Context[TrainSpec]) -> Iterator[Found]:
    """The machine's host memory and disk are large enough.

    What it does:
        Warns where a named flavor has less host memory than loading the weights is expected to take, or less disk than
        the packages, the weights and the checkpoints that are kept.

    Why:
        A process that runs out of host memory is killed without a traceback, and a checkpoint that no longer fits on
        the disk ends the run when it is saved. What auto chooses has both.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-8B", dataset=..., lora=hft.LoRA(), hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-8B", dataset=..., lora=hft.LoRA(), hardware="a10g-large")
        ```
    """
    choice = context.choice
    if _named(context) is not None and choice is not None and choice.shortage is not None:
        fixes = [*_less_disk(context.spec), "a larger flavor"] if "checkpoints" in choice.shortage else []
        fix = ", or ".join(fixes or ["a larger flavor", '"auto"'])
        yield Found(_PATH, f"{choice.flavor.name} {choice.shortage}", fix)


def _unknown(context: Context[TrainSpec]) -> str:
    """What is not known of which memory depends."""
    return " and ".join(unknown_memory(context.spec, context.facts))


def _judged(context: Context[TrainSpec], verdict: Verdict) -> tuple[Flavor, float, float] | None:
    """The named flavor, its GiB of GPU memory and those left at the peak, if that is the verdict; else ``None``."""
    flavor = _named(context)
    if flavor is None or not flavor.num_gpus or context.spec.use_cpu:
        return None
    memory = need(context.memory, _unknown(context))
    usable = need(flavor.usable_gpu_memory_gib, f"the memory of {flavor.name}")
    if memory.verdict(usable, flavor.num_gpus) != verdict:
        return None
    return flavor, usable, memory.headroom_gib(usable, flavor.num_gpus)


def _ways(spec: TrainSpec) -> list[str]:
    """What would need less memory; a batch that the user left open is as small as it can be already."""
    ways = ["lora=hft.LoRA()"] if spec.lora is None else [] if spec.quantization else ['quantization="4bit"']
    if not sharding_strategies(spec) and sharding_strategies(spec.replace(optim=_ANY_STRATEGY)):
        ways.append(f'optim="{_ANY_STRATEGY}"')
    if spec.is_set("per_device_train_batch_size") and spec.per_device_train_batch_size > 1:
        ways.append("a smaller per_device_train_batch_size")
    return [*ways, "a smaller model"]


def _less_disk(spec: TrainSpec) -> list[str]:
    """What would need less disk for checkpoints."""
    # unset, the planner has gone down to its own limit already
    kept = spec.save_total_limit or (math.inf if spec.is_set("save_total_limit") else CHECKPOINTS_KEPT)
    fewer = [] if kept == 1 else [f"save_total_limit={CHECKPOINTS_KEPT if kept > CHECKPOINTS_KEPT else 1}"]
    return fewer if spec.save_only_model else [*fewer, "save_only_model=True"]


def _smaller(spec: TrainSpec) -> str:
    return ", or ".join([*_ways(spec)[:-1], 'hardware="auto"'])


@rule("MEM001", stage="run", scope="remote")
def run_fits_in_memory(context: Context[TrainSpec]) -> Iterator[Found]:
    """The run fits in the memory of the named flavor.

    What it does:
        Refuses a named flavor whose GPU has less memory than the estimated peak, by more than the estimate's margin.

    Why:
        The job would end in an out-of-memory error, often only at the first long batch.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B", dataset=..., hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B", dataset=..., lora=hft.LoRA(), per_device_train_batch_size=1, hardware="auto")
        ```
    """
    if (found := _judged(context, "does not fit")) is None:
        return
    flavor, usable, spare = found
    why = f"does not fit: needs about {usable - spare:.1f} GiB, a GPU of {flavor.name} has {usable:.1f} GiB"
    yield Found(_PATH, why, _smaller(context.spec))


@rule("MEM002", stage="run", scope="remote", severity="warning")
def run_fits_with_a_margin(context: Context[TrainSpec]) -> Iterator[Found]:
    """The run fits in the memory of the named flavor with a margin.

    What it does:
        Warns where the estimated peak and the GPU's memory are closer to each other than the estimate's margin, 20% and
        half a GiB.

    Why:
        The peak is an estimate; published runs exceed it by up to that much.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-1.5B", dataset=..., hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-1.5B", dataset=..., per_device_train_batch_size=2, hardware="a10g-small")
        ```
    """
    if (found := _judged(context, "tight")) is None:
        return
    flavor, usable, spare = found
    left = f"{spare:.1f} GiB free" if spare >= 0 else f"{-spare:.1f} GiB above its {usable:.1f} GiB"
    why = f"is tight: {left} at the estimated peak, {context.memory.margin_gib:.1f} GiB are advised"
    yield Found(_PATH, f"{flavor.name} {why}", _smaller(context.spec))
