"""What vLLM needs of each GPU that it has or shares: the weights, room to work, keys and values of one sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hfjobs_trainer.facts import Facts, Flavor, LengthFacts, ModelFacts
from hfjobs_trainer.planning.arguments.vllm import is_colocated, is_shared_by, server_gpus, starts_server
from hfjobs_trainer.planning.memory.closed_form import PACKED_BYTES
from hfjobs_trainer.planning.memory.estimate import GIB, MemoryEstimate
from hfjobs_trainer.planning.model.shape import shape_of
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.planning.workload import UNBOUNDED_TOKENS, longest_prompt
from hfjobs_trainer.specs.base import TrainSpec

WORKING_GIB = 2.0
"""Room for a step of 4096 tokens (TRL 1.16: max_num_batched_tokens), CUDA graphs and buffers, GiB: assumed."""

LEAST_FRACTION, MOST_FRACTION, STEPS = 0.1, 0.8, 20
"""Share of a GPU between which the planner chooses for a vLLM that shares it with training, in steps of 1/20; more only
where the model needs it."""

SERVER_SHARE = 0.9
"""Share of its GPUs that a server takes unless it is told another (TRL 1.16: scripts/vllm_serve.py)."""

CONTEXT_STEP = 256
"""A context that the planner chooses is a multiple of this, tokens."""

# Families that keep one small vector per token and layer instead of keys and values (multi-head latent attention).
_LATENT = frozenset(
    {"deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "kimi_k2", "longcat_flash", "minicpm3"}
)


@dataclass(frozen=True, slots=True)
class VllmNeed:
    """What one GPU of vLLM's holds.

    Attributes:
        weights_gib: Its part of the weights, GiB.
        token_gib: Its part of the keys and values of a token, GiB; 0 where nobody knows.
    """

    weights_gib: float
    token_gib: float

    def total_gib(self, tokens: int) -> float:
        """What it needs so that a sequence of so many tokens fits, GiB."""
        return self.weights_gib + WORKING_GIB + tokens * self.token_gib

    def tokens_within(self, room_gib: float) -> int | None:
        """Tokens of the longest sequence that fits; ``None`` where nobody knows."""
        left = room_gib - self.weights_gib - WORKING_GIB
        return max(0, int(left / self.token_gib)) if self.token_gib else None


def vllm_need(spec: TrainSpec, model: ModelFacts, gpus: int) -> VllmNeed | None:
    """What each of ``gpus`` GPUs holds that share one copy of the model; ``None`` if its size is unknown.

    Weights have 16 bits, or those of a quantized model in the training processes (TRL 1.16: vllm_generation.py); keys
    and values have 16 bits, and are counted for all layers in full, also where some attend to a window only.
    """
    shape = shape_of(model)
    if shape is None:
        return None
    packed = is_colocated(spec) and spec.quantization is not None
    weights = 2 * shape.ends + (PACKED_BYTES["4bit"] if packed else 2) * shape.body
    heads = model.num_key_value_heads or shape.heads
    token = 0.0 if model.model_type in _LATENT else 2 * 2 * shape.layers * shape.key_value / min(gpus, heads)
    return VllmNeed(weights / gpus / GIB, token / GIB)


def needed_tokens(spec: TrainSpec, lengths: LengthFacts | None) -> int:
    """Tokens of a sequence that vLLM has to hold: as long as it is told, or the longest prompt and its answer."""
    if (told := getattr(spec, "vllm_max_model_length", None)) is not None:
        return told
    answer = getattr(spec, "max_completion_length", None) or getattr(spec, "max_new_tokens", None)
    # online DPO tells vLLM the sum of both (TRL 1.16: online_dpo_trainer.py)
    prompt = getattr(spec, "max_length", None) if hasattr(spec, "max_new_tokens") else longest_prompt(lengths)
    return (prompt or UNBOUNDED_TOKENS) + (answer or UNBOUNDED_TOKENS)


def least_share(spec: TrainSpec, facts: Facts, gpus: int, usable_gib: float) -> float | None:
    """Least share of each of ``gpus`` GPUs with which vLLM starts beside training; ``None`` if nobody knows."""
    need = vllm_need(spec, facts.model, gpus)
    if need is None:
        return None
    needed = need.total_gib(needed_tokens(spec, facts.dataset.lengths))
    return max(LEAST_FRACTION, math.ceil(needed / usable_gib * STEPS) / STEPS)


def group_sizes(spec: TrainSpec, model: ModelFacts, num_gpus: int) -> Iterator[int]:
    """How many of a machine's training GPUs may share one copy of the model in vLLM, the fewest first."""
    name = "vllm_tensor_parallel_size"
    if spec.is_set(name):
        yield getattr(spec, name)
        return
    for size in range(1, num_gpus + 1):
        if size == 1 or (num_gpus % size == 0 and is_shared_by(model, size)):
            yield size


def weights_shortage(spec: TrainSpec, model: ModelFacts, flavor: Flavor, gpus: int, share: float) -> str | None:
    """Why this share of each of ``gpus`` GPUs cannot hold the model's weights, in words.

    Returns:
        ``None`` if it can, and if a size is unknown.
    """
    need, usable = vllm_need(spec, model, gpus), flavor.usable_gpu_memory_gib
    if need is None or usable is None or need.weights_gib <= share * usable:
        return None
    where, who = "a GPU" if gpus == 1 else f"each of {gpus} GPUs", "the server" if starts_server(spec) else "vLLM"
    coming = f"{need.weights_gib:.1f} GiB of weights come on {where} of {flavor.name}"
    return f"{coming}, of which {who} takes {share * usable:.1f} GiB"


def server_shortage(spec: TrainSpec, model: ModelFacts, flavor: Flavor) -> str | None:
    """Why the GPUs of the run's own server cannot hold the model's weights; ``None`` if they can, or without one."""
    gpus = server_gpus(spec, model, flavor)
    return weights_shortage(spec, model, flavor, gpus, server_share(spec)) if gpus else None


def server_share(spec: TrainSpec) -> float:
    """Share of its GPUs that the run's own server takes."""
    name = "vllm_gpu_memory_utilization"
    return getattr(spec, name) if spec.is_set(name) else SERVER_SHARE


def share_gpu(
    spec: TrainSpec, facts: Facts, memory: MemoryEstimate | None, flavor: Flavor | None, gpus: int
) -> tuple[MemoryEstimate | None, Decision | None]:
    """Give a colocated vLLM what training leaves of each GPU, where the user did not say and both sizes are known.

    Args:
        spec: The spec.
        facts: What is known of model and data.
        memory: What training needs.
        flavor: The machine.
        gpus: GPUs that share one copy of the model in vLLM.

    Returns:
        The estimate beside that share, and the decision; the estimate beside the least share and ``None`` if the two do
        not fit together; the estimate as it was where nothing is to be decided.
    """
    usable = flavor.usable_gpu_memory_gib if flavor else None
    if memory is None or not usable or not is_colocated(spec) or spec.is_set("vllm_gpu_memory_utilization"):
        return memory, None
    alone = replace(memory, gpu_fraction=0.0)
    left = alone.headroom_gib(usable, flavor.num_gpus if flavor else 1) - alone.margin_gib
    least = least_share(spec, facts, gpus, usable) or LEAST_FRACTION
    fraction = max(least, min(math.floor(left / usable * STEPS) / STEPS, MOST_FRACTION))
    beside = replace(memory, gpu_fraction=fraction)
    if beside.verdict(usable) == "does not fit":
        return beside, None
    why = f"what training leaves of {usable:.0f} GiB, less a margin"
    return beside, Decision("vllm_gpu_memory_utilization", fraction, why)


def choose_context(spec: TrainSpec, facts: Facts, flavor: Flavor | None, gpus: int, share: float) -> Decision | None:
    """How long sequences in vLLM may be, where the model's own context does not fit: vLLM would end as it starts.

    Args:
        spec: The spec.
        facts: What is known of model and data.
        flavor: The machine.
        gpus: GPUs that share one copy of the model in vLLM.
        share: Share of each GPU that vLLM takes.
    """
    name, context = "vllm_max_model_length", facts.model.max_position_embeddings
    usable, need = flavor.usable_gpu_memory_gib if flavor else None, vllm_need(spec, facts.model, gpus)
    if not hasattr(spec, name) or spec.is_set(name) or not (context and usable and need):
        return None
    fitting = need.tokens_within(share * usable)
    if fitting is None or fitting >= context or fitting < needed_tokens(spec, facts.dataset.lengths):
        return None
    why = f"the keys and values of a sequence of {context:,} tokens, the model's own context, would not fit"
    return Decision(name, fitting // CONTEXT_STEP * CONTEXT_STEP, why)
