"""Rules about generation with vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.display import plural
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.memory.vllm import server_shortage, weights_shortage
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.fixes import change

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.distillation import Distillation
    from hfjobs_trainer.specs.methods.grpo import GRPO
    from hfjobs_trainer.specs.methods.online_dpo import OnlineDPO
    from hfjobs_trainer.specs.methods.rloo import RLOO

    Generating = GRPO | RLOO | OnlineDPO | Distillation


@rule("VLLM001", stage="run", fields=["use_vllm", "vllm_tensor_parallel_size"])
def tensor_parallel_size_divides_the_gpus(context: Context[Generating]) -> Iterator[Found]:
    """The training processes form whole groups of vLLM's.

    What it does:
        With `vllm_mode="colocate"`, refuses a `vllm_tensor_parallel_size` that does not divide the number of GPUs.

    Why:
        Each group of that many training processes shares one copy of the model for generation. TRL refuses the rest,
        once the model is loaded.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_tensor_parallel_size=3,
                 hardware="a100x4")
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_tensor_parallel_size=2,
                 hardware="a100x4")
        ```
    """
    size = context.argument("vllm_tensor_parallel_size", context.spec.vllm_tensor_parallel_size)
    gpus = context.num_gpus // context.spec.hardware.nodes
    vllm = context.run.vllm
    if vllm is None or not vllm.colocated or size <= 1:
        return
    if context.backend.rents:
        need(context.flavor, "the flavor, for its number of GPUs", "hardware.flavor")
        if gpus % size:
            best = max(number for number in range(1, size) if gpus % number == 0)
            why = f"{size} does not divide the {plural(gpus, 'GPU')} that train"
            yield Found("vllm_tensor_parallel_size", why, f"vllm_tensor_parallel_size={best}")


@rule("VLLM002", fields=["use_vllm"])
def no_eight_bits_beside_vllm(context: Context[Generating]) -> Iterator[Found]:
    """A vLLM in the training processes cannot read weights of 8 bits.

    What it does:
        Refuses `quantization="8bit"` together with `use_vllm=True` in its default mode, `"colocate"`.

    Why:
        vLLM quantizes to 4 bits while it loads, and not to 8; TRL raises a `ValueError` when both models are loaded.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, lora=hft.LoRA(), quantization="8bit")
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, lora=hft.LoRA(), quantization="4bit")
        ```
    """
    quantization = context.spec.quantization
    vllm = context.run.vllm
    if vllm is not None and vllm.colocated and quantization is not None and quantization.bits == "8bit":
        why = "vLLM in colocate mode quantizes to 4 bits, not to 8"
        yield Found("quantization", why, 'quantization="4bit"')


@rule("VLLM003", fields=["use_vllm"])
def answers_fit_the_context(context: Context[Generating]) -> Iterator[Found]:
    """The context of vLLM holds the prompt and the answer.

    What it does:
        Refuses a `vllm_max_model_length` that the answer alone, of `max_completion_length` tokens, fills.

    Why:
        vLLM refuses a request that cannot fit into its context, at the first step.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_max_model_length=1024,
                 max_completion_length=1024)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_max_model_length=2048,
                 max_completion_length=1024)
        ```
    """
    room, answer = context.field("vllm_max_model_length", int), context.field("max_completion_length", int)
    if context.run.vllm is not None and room and answer and answer >= room:
        why = f"an answer of up to {answer} tokens leaves no room for its prompt in a context of {room}"
        # room for prompts as long as answers
        yield Found("vllm_max_model_length", why, f"vllm_max_model_length={2 * answer}")


@rule("VLLM004", stage="run", fields=["use_vllm", "vllm_tensor_parallel_size"], scope="remote")
def server_has_gpus_of_its_own(context: Context[Generating]) -> Iterator[Found]:
    """A server for the answers needs GPUs beside those that train.

    What it does:
        With `vllm_mode="server"`, where the script starts the server, refuses a flavor whose GPUs are not more than
        the `vllm_tensor_parallel_size` of the server; on several nodes, one with fewer than that.

    Why:
        The server takes the last GPUs of the machine; at least one must be left to train on. On several nodes it has
        the last of them to itself, and no more GPUs than that node. With the address of a server of your own
        (`vllm_server_base_url`), none is taken.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_mode="server", hardware="a100-large")
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_mode="server", hardware="a100x4")
        ```
    """
    spec = context.spec
    vllm = context.run.vllm
    taken = vllm.gpus_set_aside if vllm is not None else 0
    if vllm is not None and vllm.apart:
        flavor = need(context.flavor, "the flavor, for its number of GPUs", "hardware.flavor")
        asked = spec.vllm_tensor_parallel_size
        if flavor.num_gpus < asked:
            why = f"the server has a node of its own with {flavor.num_gpus} of the {asked} GPUs that it is given"
            yield Found("vllm_tensor_parallel_size", why, "vllm_tensor_parallel_size=None")
    if not taken:
        return
    flavor = need(context.flavor, "the flavor, for its number of GPUs", "hardware.flavor")
    if flavor.num_gpus <= taken:
        why = f"the server takes {taken} of the {flavor.num_gpus} GPUs of {flavor.name}, and none is left to train on"
        if flavor.num_gpus == 1:
            why = f"the server takes a GPU of its own, and {flavor.name} has 1 in all"
        yield Found("vllm_mode", why, 'vllm_mode="colocate"')


@rule("VLLM007", stage="run", fields=["use_vllm", "vllm_tensor_parallel_size"], scope="remote")
def vllm_holds_the_model(context: Context[Generating]) -> Iterator[Found]:
    """The GPUs of vLLM hold the model.

    What it does:
        Where the script starts a server (`vllm_mode="server"`), refuses a flavor on which the model's weights alone, of
        16 bits, are larger than what the server may take of its GPUs. With `vllm_mode="colocate"`, refuses a
        `vllm_gpu_memory_utilization` with which vLLM's own copy of the weights has no room beside training. What is
        left for the answers' keys and values is not checked.

    Why:
        vLLM loads the whole model once more, spread over `vllm_tensor_parallel_size` GPUs and no others. It would end
        as it starts, once the training processes have loaded theirs.

    Example:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-14B-Instruct", dataset=..., reward_funcs=..., lora=hft.LoRA(), quantization="4bit",
                 use_vllm=True, vllm_mode="server", hardware="a10g-largex4")
        ```

    Use instead:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-14B-Instruct", dataset=..., reward_funcs=..., lora=hft.LoRA(), quantization="4bit",
                 use_vllm=True, vllm_mode="server", vllm_tensor_parallel_size=2, hardware="a10g-largex4")
        ```
    """
    spec = context.spec
    run, vllm = context.run, context.run.vllm
    if vllm is None or not (vllm.starts_server or (vllm.colocated and vllm.share_is_set)):
        return
    beside = vllm.colocated
    flavor = need(context.flavor, "the flavor, for the memory of its GPUs", "hardware.flavor")
    if not beside and context.machine.server_gpus + (not vllm.apart) > flavor.num_gpus:
        return  # VLLM004 tells
    need(run.shape, f"the size of {spec.model}", "model")
    need(flavor.usable_gpu_memory_gib, f"the memory of {flavor.name}")
    if beside:
        gpus = context.argument("vllm_tensor_parallel_size", spec.vllm_tensor_parallel_size)
        why = weights_shortage(run, flavor, gpus, vllm.share)
        path, instead = "vllm_gpu_memory_utilization", "vllm_gpu_memory_utilization=None"
    else:
        why = server_shortage(run, context.machine)
        path, instead = "vllm_tensor_parallel_size", change(spec, {"hardware.flavor": "auto"})
    if why is not None:
        yield Found(path, why, instead)


@rule("VLLM005", fields=["use_vllm"], severity="warning")
def revision_reaches_vllm(context: Context[Generating]) -> Iterator[Found]:
    """A vLLM in the training processes starts from the default branch of the model.

    What it does:
        Warns of `model_revision` together with `use_vllm=True` in its default mode, `"colocate"`.

    Why:
        TRL gives vLLM the name of the model without its revision. The weights are replaced by the trained ones before
        each generation, but the configuration is that of the default branch: where that differs, loading fails.

    Example:
        ```python
        hft.GRPO(model=..., model_revision="v2", dataset=..., reward_funcs=..., use_vllm=True)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., model_revision="v2", dataset=..., reward_funcs=..., use_vllm=True, vllm_mode="server")
        ```
    """
    vllm = context.run.vllm
    if vllm is not None and vllm.colocated and context.spec.model_revision is not None:
        why = "is ignored by vLLM in colocate mode, which reads the default branch"
        yield Found("model_revision", why, 'vllm_mode="server"')


@rule("VLLM006", fields=["use_vllm"])
def vllm_needs_a_gpu(context: Context[Generating]) -> Iterator[Found]:
    """Generation with vLLM needs GPUs.

    What it does:
        Refuses `use_vllm=True` together with `use_cpu=True`.

    Why:
        The vLLM that the script installs is built for CUDA.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, use_cpu=True)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_cpu=True)
        ```
    """
    if context.run.vllm is not None and context.spec.use_cpu:
        yield Found("use_vllm", "vLLM needs a GPU, and use_cpu=True does not use it", "use_vllm=False")
