"""Memory that vLLM needs on each GPU that it has or shares: weights, working memory, KV cache of one sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hfjobs_trainer.facts import Flavor, ModelFacts
from hfjobs_trainer.planning.hardware.machine import Machine, is_shared_by
from hfjobs_trainer.planning.memory.closed_form import PACKED_BYTES
from hfjobs_trainer.planning.memory.estimate import GIB, MemoryEstimate
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.planning.run import Run, Vllm

WORKING_GIB = 2.0
"""Room for a step of 4096 tokens (TRL 1.16: max_num_batched_tokens), CUDA graphs and buffers, GiB: assumed."""

LEAST_FRACTION, MOST_FRACTION, STEPS = 0.1, 0.8, 20
"""Smallest and largest share of a GPU that the planner gives a vLLM next to training, in steps of 1/20; more only if
the model needs it."""

SERVER_SHARE = 0.9
"""Share of its GPUs that a server uses by default (TRL 1.16: scripts/vllm_serve.py)."""

CONTEXT_STEP = 256
"""A context that the planner chooses is a multiple of this, tokens."""

# Families that keep one small vector per token and layer instead of keys and values (multi-head latent attention).
_LATENT = frozenset(
    {"deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "kimi_k2", "longcat_flash", "minicpm3"}
)


@dataclass(frozen=True, slots=True)
class VllmNeed:
    """What vLLM holds on one GPU.

    Attributes:
        weights_gib: Its part of the weights, GiB.
        token_gib: Its part of the KV cache of a token, GiB; 0 if unknown.
    """

    weights_gib: float
    token_gib: float

    def total_gib(self, tokens: int) -> float:
        """Memory that it needs for a sequence of ``tokens`` tokens, GiB."""
        return self.weights_gib + WORKING_GIB + tokens * self.token_gib

    def tokens_within(self, room_gib: float) -> int | None:
        """Tokens of the longest sequence that fits; ``None`` if unknown."""
        left = room_gib - self.weights_gib - WORKING_GIB
        return max(0, int(left / self.token_gib)) if self.token_gib else None


def vllm_need(run: Run, gpus: int) -> VllmNeed | None:
    """What each of ``gpus`` GPUs holds when they share one copy of the model; ``None`` if its size is unknown.

    Weights have 16 bits, or are quantized as in the training processes (TRL 1.16: vllm_generation.py). The KV cache has
    16 bits and is counted in full for all layers, even if some attend to a window only.
    """
    shape, model = run.shape, run.model
    if shape is None:
        return None
    packed = run.vllm is not None and run.vllm.colocated and run.quantization is not None
    weights = 2 * shape.ends + (PACKED_BYTES["4bit"] if packed else 2) * shape.body
    heads = model.num_key_value_heads or shape.heads
    token = 0.0 if model.model_type in _LATENT else 2 * 2 * shape.layers * shape.key_value / min(gpus, heads)
    return VllmNeed(weights / gpus / GIB, token / GIB)


def least_share(run: Run, vllm: Vllm, gpus: int, usable_gib: float) -> float | None:
    """Least share of each of ``gpus`` GPUs with which vLLM starts next to training; ``None`` if unknown."""
    need = vllm_need(run, gpus)
    if need is None:
        return None
    return max(LEAST_FRACTION, math.ceil(need.total_gib(vllm.tokens) / usable_gib * STEPS) / STEPS)


def group_sizes(vllm: Vllm, model: ModelFacts, num_gpus: int) -> Iterator[int]:
    """Numbers of training GPUs of a machine that may share one copy of the model in vLLM, the fewest first."""
    if vllm.gpus_is_set:
        yield vllm.gpus
        return
    for size in range(1, num_gpus + 1):
        if size == 1 or (num_gpus % size == 0 and is_shared_by(model, size)):
            yield size


def weights_shortage(run: Run, flavor: Flavor, gpus: int, share: float) -> str | None:
    """The reason why this share of each of ``gpus`` GPUs cannot hold the model's weights, as text.

    Returns:
        ``None`` if it can, and if a size is unknown.
    """
    need, usable = vllm_need(run, gpus), flavor.usable_gpu_memory_gib
    if need is None or usable is None or need.weights_gib <= share * usable:
        return None
    serves = run.vllm is not None and run.vllm.starts_server
    where, who = "a GPU" if gpus == 1 else f"each of {gpus} GPUs", "the server" if serves else "vLLM"
    needs = f"{need.weights_gib:.1f} GiB of weights would go on {where} of {flavor.name}"
    return f"{needs}, but {who} may use only {share * usable:.1f} GiB of it"


def server_shortage(run: Run, machine: Machine) -> str | None:
    """Why the GPUs of the run's own server cannot hold the model's weights; ``None`` if they can, or without one."""
    if run.vllm is None or machine.flavor is None or not machine.server_gpus:
        return None
    return weights_shortage(run, machine.flavor, machine.server_gpus, server_share(run.vllm))


def server_share(vllm: Vllm) -> float:
    """Share of its GPUs that the run's own server uses."""
    return vllm.share if vllm.share_is_set else SERVER_SHARE


def share_gpu(
    run: Run, memory: MemoryEstimate | None, machine: Machine, gpus: int
) -> tuple[MemoryEstimate | None, Decision | None]:
    """Give a colocated vLLM what training leaves of each GPU, if the user left that open and both sizes are known.

    Args:
        run: The run.
        memory: What training needs.
        machine: The machine.
        gpus: GPUs that share one copy of the model in vLLM.

    Returns:
        The estimate with that share, and the decision; the estimate with the least share, and ``None``, if the two do
        not fit together; the unchanged estimate if there is nothing to decide.
    """
    usable, vllm = machine.usable_gib, run.vllm
    if memory is None or not usable or vllm is None or not vllm.colocated or vllm.share_is_set:
        return memory, None
    alone = replace(memory, gpu_fraction=0.0)
    left = alone.headroom_gib(usable, machine.flavor.num_gpus if machine.flavor else 1) - alone.margin_gib
    least = least_share(run, vllm, gpus, usable) or LEAST_FRACTION
    fraction = max(least, min(math.floor(left / usable * STEPS) / STEPS, MOST_FRACTION))
    beside = replace(memory, gpu_fraction=fraction)
    if beside.verdict(usable) == "does not fit":
        return beside, None
    why = f"what training leaves of {usable:.0f} GiB, minus a margin"
    return beside, Decision("vllm_gpu_memory_utilization", fraction, why)


def choose_context(run: Run, vllm: Vllm, machine: Machine, gpus: int, share: float) -> Decision | None:
    """The longest sequence in vLLM, if the model's own context does not fit, with which vLLM would not start.

    Args:
        run: The run.
        vllm: Its vLLM.
        machine: The machine.
        gpus: GPUs that share one copy of the model in vLLM.
        share: Share of each GPU that vLLM uses.
    """
    context, usable, need = run.model.max_position_embeddings, machine.usable_gib, vllm_need(run, gpus)
    if not vllm.chooses_context or not (context and usable and need):
        return None
    fitting = need.tokens_within(share * usable)
    if fitting is None or fitting >= context or fitting < vllm.tokens:
        return None
    why = f"the KV cache of a sequence of {context:,} tokens, the model's own context, would not fit"
    return Decision("vllm_max_model_length", fitting // CONTEXT_STEP * CONTEXT_STEP, why)
