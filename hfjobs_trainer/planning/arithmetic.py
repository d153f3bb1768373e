"""What training costs per token: arithmetic, and bytes that are moved, whatever the machine."""

from __future__ import annotations

from dataclasses import dataclass

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.architecture import Shape, adapted_linears, shape_of
from hfjobs_trainer.planning.gpus import Tuning
from hfjobs_trainer.planning.memory import PACKED_BYTES, Workload

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}

# Bytes that AdamW reads and writes per trained value of b bytes: weight, both moments (read and written), gradient.
ADAM_VALUES = 7
# Those of bitsandbytes' 8-bit optimizers, whose two moments are one byte each, for weights of 4 bytes.
EIGHT_BIT_BYTES = 16
# Optimizers of torch that, unfused, run through the values once per operation: about twice as often.
FOREACH = frozenset({"adamw_torch", "adagrad", "rmsprop"})


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a sequence passes the model in training, by method.

    Attributes:
        sequences: Sequences that one example of the batch becomes: 2 for pairs.
        trained: Forward and backward passes of each sequence; PPO makes several.
        frozen: Forward passes without a backward one: reference model, log probabilities of before.
    """

    sequences: int = 1
    trained: float = 1.0
    frozen: float = 0.0


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What one token costs in the model that is trained, and in those beside it.

    Attributes:
        tuning: All weights, an adapter, or an adapter on quantized weights.
        layers: Decoder layers.
        body: Parameters outside embedding and head by which a token is multiplied: of experts, the active ones.
        head: Those of the head.
        attention: Width of the queries of all layers together.
        parameters: All parameters.
        read_bytes: Bytes of the weights as the arithmetic reads them, once per pass.
        cast_bytes: Bytes moved per pass to turn the weights into that form: dequantized, or cast to half precision.
        link_bytes: Bytes of the weights when GPUs send them to each other.
        trained: Parameters that are trained.
        gradient_bytes: Bytes of their gradients.
        optimizer_bytes: Bytes moved by one optimizer step.
        state_bytes: Bytes of the optimizer's moments in a checkpoint.
        cache_bytes: Bytes of keys and values of one token.
        other_body, other_attention: As ``body`` (with the head) and ``attention``, summed over the forward passes of
            other models.
        other_bytes, other_layers: Their weights and layers.
        experts: Whether there are experts.
        assumed: What is guessed.
    """

    tuning: Tuning
    layers: int
    body: float
    head: float
    attention: float
    parameters: float
    read_bytes: float
    cast_bytes: float
    link_bytes: float
    trained: float
    gradient_bytes: float
    optimizer_bytes: float
    state_bytes: float
    cache_bytes: float
    other_body: float = 0.0
    other_attention: float = 0.0
    other_bytes: float = 0.0
    other_layers: float = 0.0
    experts: bool = False
    assumed: tuple[str, ...] = ()

    def forward(self, context: float) -> float:
        """FLOPs of a forward pass per token, in a sequence of ``context`` tokens: 2 per parameter, and attention.

        A token attends to half of the sequence on average; scores and values take 2 FLOPs each per query dimension.
        """
        return 2 * (self.body + self.head + self.attention * context)

    def training(self, context: float, *, recomputes: bool) -> float:
        """FLOPs of a forward and a backward pass per token.

        The backward pass costs one forward for the gradient of the activations and, where weights are trained, one for
        theirs; attention has no weights and costs two. Checkpointing adds a forward pass of the layers.
        """
        linear = 2 * (self.body + self.head)
        both = self.tuning == "full"
        adapter = 0.0 if both else 6 * self.trained
        again = 2 * (self.body + self.attention * context) if recomputes else 0.0
        return linear * (3 if both else 2) + 6 * self.attention * context + adapter + again

    def others(self, context: float) -> float:
        """FLOPs of the forward passes of other models per token."""
        return 2 * (self.other_body + self.other_attention * context)


def arithmetic_of(workload: Workload) -> Arithmetic | None:
    """What a workload's model costs per token; ``None`` if its size is unknown."""
    model, shape = workload.model, shape_of(workload.model)
    if shape is None:
        return None
    adapts = workload.tuning == "lora"
    head = 0.0 if workload.method == "reward" or workload.head == "none" else float(shape.embedding)
    active = active_body(model, shape)
    width = BYTES[workload.dtype]
    computes = 2.0 if workload.mixed_precision else width
    read, cast = width, 0.0
    if workload.quantization is not None:
        packed = PACKED_BYTES[workload.quantization]
        read, cast = computes, packed + computes
        stored = packed
    else:
        stored = width
        if computes < width:
            read, cast = computes, width + computes
    trained = _trained(workload, shape)
    trained_width = width if not adapts else 2.0 if workload.stack.adapter_bytes == 2 else 4.0
    moved = EIGHT_BIT_BYTES * trained_width / 4 if "8bit" in workload.optim else ADAM_VALUES * trained_width
    assumed = [f"{', '.join(shape.assumed)} of the model"] if shape.assumed else []
    experts = active < shape.body
    return Arithmetic(
        tuning="full" if not adapts else "lora" if workload.quantization is None else "qlora",
        layers=shape.layers,
        body=active,
        head=head,
        attention=float(shape.layers * shape.query),
        parameters=float(shape.parameters),
        read_bytes=read * shape.parameters,
        cast_bytes=cast * shape.body,
        link_bytes=min(stored, computes) * shape.parameters,
        trained=trained,
        gradient_bytes=trained * trained_width,
        optimizer_bytes=trained * moved * (2 if workload.optim in FOREACH else 1),
        state_bytes=trained * (2.0 if "8bit" in workload.optim else 2 * trained_width),
        cache_bytes=2 * computes * shape.layers * shape.key_value,
        experts=experts,
        assumed=tuple(assumed),
    )


def active_body(model: ModelFacts, shape: Shape) -> float:
    """Parameters outside embedding and head by which one token is multiplied: experts it is not routed to are left out.

    An expert has three matrices of the hidden size by its inner width.
    """
    experts, used, width = model.num_experts, model.num_experts_per_tok, model.moe_intermediate_size
    if not experts or not used or not width:
        return float(shape.body)
    layers = shape.layers - (model.num_dense_layers or 0)
    idle = layers * max(0, experts - used) * 3 * shape.hidden * width
    return max(float(shape.body) - idle, 0.05 * shape.body)


def _trained(workload: Workload, shape: Shape) -> float:
    if workload.tuning == "full":
        return float(shape.parameters)
    adapted = adapted_linears(shape, workload.lora_targets, workload.model.model_type)
    adapter = shape.layers * workload.lora_r * sum(inputs + outputs for inputs, outputs in adapted.values())
    whole = {"embed_tokens", "lm_head", "score"} & {name.rsplit(".", 1)[-1] for name in workload.modules_to_save}
    return float(adapter + len(whole - {"score"}) * shape.embedding)
