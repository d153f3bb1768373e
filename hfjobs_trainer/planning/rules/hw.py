"""Rules about the machine: its flavor, its price, its GPUs, its host memory, disk and processors."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.hardware.catalogue import suggest_flavors
from hfjobs_trainer.planning.remedies import closest_flavor
from hfjobs_trainer.planning.rules.mem import nothing_tried, unknown_sizes
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.script import Script

_PATH = "hardware.flavor"
# Processes for each of the machine's processors, beyond which they only wait for each other: some wait for the disk.
MOST_PER_PROCESSOR = 2


@rule("HW001", scope="remote", scripts=True, first=True)
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
    if name == "auto" or context.named_flavor is not None:
        return
    near = suggest_flavors(name, context.hardware)
    why = f'Hugging Face Jobs has no flavor "{name}" ({context.hardware.source})'
    if len(near) > 1:
        why += f"; near to it are {', '.join(near)}"
    # of a script it is not known what it needs
    other = None if isinstance(context.spec, Script) else "auto"
    flavor = near[0] if near else other
    yield Found(_PATH, why, change(context.spec, {_PATH: flavor}) if flavor else "")


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
    flavor = context.named_flavor
    if flavor is not None and not flavor.num_gpus and not context.spec.use_cpu:
        has = "no GPU" if flavor.gpu is None else f"a {flavor.gpu}, which is not a CUDA GPU"
        why = f"{flavor.name} has {has} (use_cpu=True says that it is meant)"
        yield Found(_PATH, why, change(context.spec, {_PATH: "auto"}))


@rule("HW003", stage="run", scope="remote", first=True)
def some_flavor_fits(context: Context[TrainSpec]) -> Iterator[Found]:
    """Some flavor fits the run.

    What it does:
        Where the flavor is chosen for you, reports that none fits, and why the closest does not. The fix is the nearest
        change with which the planner finds one that does.

    Why:
        Each GPU holds the model, its gradients and its optimizer, or its part of them; there is a size that not even
        the largest machine on offer holds.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-70B", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-70B", dataset=..., lora=hft.LoRA())
        ```
    """
    choice, spec = context.choice, context.spec
    if spec.hardware.flavor != "auto" or choice is None or choice.flavor is not None or choice.estimate is None:
        return
    if choice.cheapest is not None:
        # some would do, but for a cap on the whole run, of which other rules tell
        return
    closest = closest_flavor(choice, context.hardware)
    reason = dict(choice.rejected)[closest]
    why = f"no flavor fits; the closest, {closest}: {reason}{nothing_tried(context)}"
    yield Found(_PATH, why, context.estimate.fix)


@rule("HW004", stage="run", scope="remote", first=True)
def unknown_size_needs_a_flavor(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model of unknown size needs a named flavor.

    What it does:
        Asks for a flavor where it should be chosen for you, but the size of the model is unknown, or that of one beside
        it (a teacher, a reward model), or how an `fsdp` or `deepspeed` of yours shards it.

    Why:
        Guessing would either waste money or run out of memory. The size is read from the model's safetensors files or
        its `config.json`, of which a repository may have neither. Offline, and where the Hub does not answer, this is
        not checked.

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
    if context.spec.hardware.flavor != "auto" or choice is None or choice.flavor is not None or context.memory:
        return
    if context.decided(context.run.unknown):
        why = f"no flavor can be chosen without {unknown_sizes(context)}"
        yield Found(_PATH, why, change(context.spec, {_PATH: "a10g-large"}))


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
    flavor, limit = context.named_flavor, context.spec.hardware.max_usd_per_hour
    if flavor is not None and limit is not None and flavor.usd_per_hour > limit:
        why = f"{flavor.name} costs ${flavor.usd_per_hour:.2f}/h, above max_usd_per_hour={limit:g}"
        path = "hardware.max_usd_per_hour"
        cheaper = {path: flavor.usd_per_hour} if isinstance(context.spec, Script) else {_PATH: "auto"}
        yield Found(path, why, change(context.spec, cheaper))


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
    hardware, flavor = context.spec.hardware, context.named_flavor
    path = "hardware.strategy"
    auto = change(context.spec, {path: "auto"})
    if flavor is not None and hardware.strategy == "single" and flavor.num_gpus > 1:
        why = f"{flavor.num_gpus - 1} of the {flavor.num_gpus} GPUs of {flavor.name} would be idle"
        yield Found(path, why, auto)
    if flavor is not None and hardware.strategy == "ddp" and flavor.num_gpus == context.run.nodes == 1:
        yield Found(path, f"{flavor.name} has only one GPU", auto)
    if hardware.strategy == "user" and not (hardware.fsdp or hardware.fsdp_config or hardware.deepspeed):
        yield Found(path, "neither fsdp nor deepspeed is given", auto)


@rule("HW007", scope="remote", scripts=True)
def flavor_has_the_gpus(context: Context[JobSpec]) -> Iterator[Found]:
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
    flavor, wanted = context.named_flavor, context.spec.hardware.num_gpus
    if flavor is None or not flavor.num_gpus or wanted is None:
        return
    # the server's own rule tells of a machine that has no GPU beside it
    vllm = context.run.vllm if isinstance(context.spec, TrainSpec) else None
    taken = vllm.gpus_set_aside if vllm is not None else 0
    left = flavor.num_gpus - taken
    if 0 < left < wanted:
        of = f"{left}, beside {taken} of the vLLM server" if taken else str(left)
        path = "hardware.num_gpus"
        yield Found(path, f"{flavor.name} has {of}", change(context.spec, {path: left}))


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
    if context.named_flavor is None or choice is None or choice.flavor is None:
        return
    if choice.shortage is not None:
        yield Found(_PATH, f"{choice.flavor.name} {choice.shortage}", context.estimate.fix)


@rule("HW009", stage="run", scope="remote", severity="warning")
def processes_have_processors(context: Context[TrainSpec]) -> Iterator[Found]:
    """The processes that prepare data have processors to run on.

    What it does:
        Warns where `dataset_num_proc`, or `dataloader_num_workers` for all GPUs of a machine, is more than twice the
        machine's number of processors.

    Why:
        Each process holds its own copy of Python and of its part of the data: they slow each other down, and many run
        out of host memory, which ends the job without a traceback.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., dataset_num_proc=64, hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., dataset_num_proc=4, hardware="a10g-small")
        ```
    """
    flavor, spec = context.flavor, context.spec
    if flavor is None or not flavor.vcpu:
        return
    gpus = max(1, context.num_gpus // context.run.nodes)
    for name, asked, each in (
        ("dataset_num_proc", context.field("dataset_num_proc", int), 1),
        ("dataloader_num_workers", spec.dataloader_num_workers, gpus),
    ):
        processes = (asked or 0) * each
        if processes > MOST_PER_PROCESSOR * flavor.vcpu:
            which = f" for {gpus} GPUs" if each > 1 else ""
            why = f"starts {processes} processes{which}, {flavor.name} has {flavor.vcpu} processors"
            yield Found(name, why, f"{name}={max(1, flavor.vcpu // each)}")
