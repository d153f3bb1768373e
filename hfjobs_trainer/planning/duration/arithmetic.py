"""The cost of training per token, independent of the machine: FLOPs and bytes moved."""

from __future__ import annotations

from dataclasses import dataclass

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.duration.elementwise import elementwise_bytes
from hfjobs_trainer.planning.hardware.gpus import Tuning
from hfjobs_trainer.planning.memory.closed_form import PACKED_BYTES, Workload
from hfjobs_trainer.planning.model.optimizers import runs_unfused, state_bytes
from hfjobs_trainer.planning.model.shape import BYTES, Shape, shape_of


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The cost of one token in the trained model and in the other models of the run.

    Attributes:
        tuning: All weights, an adapter, or an adapter on quantized weights.
        layers: Decoder layers.
        body: Active parameters per token outside embedding and head: of experts, only those it is routed to.
        head: Parameters of the head.
        attention: Total width of the queries of all layers.
        parameters: All parameters.
        read_bytes: Bytes of the weights as the computation reads them, once per pass.
        cast_bytes: Bytes moved per pass to dequantize the weights or cast them to half precision.
        link_bytes: Bytes of the weights when GPUs exchange them.
        trained: Parameters that are trained.
        adapted: Parameters of an adapter that each token passes; 0 without.
        gradient_bytes: Bytes of their gradients.
        optimizer_bytes: Bytes moved by one optimizer step.
        state_bytes: Bytes of the optimizer's moments in a checkpoint.
        cache_bytes: Bytes of the KV cache of one token.
        moved_bytes: Bytes that a forward pass moves between its matrix products, per token.
        other_body, other_attention: As ``body`` (with the head) and ``attention``, summed over the forward passes of
            other models.
        other_bytes, other_layers: Their weights and layers.
        experts: Whether there are experts.
        assumed: The assumptions.
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
    moved_bytes: float
    adapted: float = 0.0
    other_body: float = 0.0
    other_attention: float = 0.0
    other_bytes: float = 0.0
    other_layers: float = 0.0
    experts: bool = False
    assumed: tuple[str, ...] = ()

    def forward(self, context: float) -> float:
        """FLOPs of a forward pass per token, in a sequence of ``context`` tokens: 2 per parameter, plus attention.

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
        adapter = 6 * self.adapted
        again = 2 * (self.body + self.attention * context) if recomputes else 0.0
        return linear * (3 if both else 2) + 6 * self.attention * context + adapter + again

    @property
    def other_moved(self) -> float:
        """``moved_bytes`` of the forward passes of other models: assumed to be in proportion to their size."""
        return self.moved_bytes * self.other_body / max(1.0, self.body + self.head)

    def others(self, context: float) -> float:
        """FLOPs of the forward passes of other models per token."""
        return 2 * (self.other_body + self.other_attention * context)


def arithmetic_of(workload: Workload) -> Arithmetic | None:
    """The cost per token of a workload's model; ``None`` if its size is unknown."""
    model, shape = workload.model, shape_of(workload.model)
    if shape is None:
        return None
    adapts = workload.tuning == "lora"
    width = BYTES[workload.dtype]
    computes = 2.0 if workload.mixed_precision else width
    moved = BYTES["float32"] + computes if computes < width else 0.0
    cast, stored = moved * shape.body, min(width, computes) * shape.parameters
    if workload.quantization is not None:
        packed, within = PACKED_BYTES[workload.quantization], _quantized(shape)
        # read packed, and written in the dtype of the computation
        unpacked = workload.stack.unpack_bytes or packed + computes
        cast, stored = unpacked * within, packed * within + width * (shape.parameters - within)
    adapter = workload.adapter
    trained = float(adapter.trained if adapter else shape.parameters)
    if adapter is not None and adapter.experts:
        # the sum of the experts and of what their adapters add is written out in each pass (PEFT: ParamWrapper)
        cast += 2 * (BYTES["float32"] + computes) * shape.layers * shape.expert_weights
    trained_width = width
    if adapts:
        trained_width = float(workload.stack.adapter_bytes or (4 if workload.quantization is None else 2))
    gradients = trained * trained_width
    states = state_bytes(
        workload.optim, trained=trained, gradients=gradients, embedding=0.0 if adapts else float(shape.embedding)
    )
    active = active_body(model, shape)
    return Arithmetic(
        tuning="full" if not adapts else "lora" if workload.quantization is None else "qlora",
        layers=shape.layers,
        body=active,
        head=0.0 if workload.head == "none" else float(shape.embedding),
        attention=float(shape.layers * shape.query),
        parameters=float(shape.parameters),
        read_bytes=computes * shape.parameters,
        cast_bytes=cast,
        link_bytes=stored,
        trained=trained,
        adapted=float(adapter.per_token) if adapter else 0.0,
        gradient_bytes=gradients,
        # weights and states are read and written, gradients read; unfused, about twice as often: assumed
        optimizer_bytes=(3 * gradients + 2 * states) * (2 if runs_unfused(workload.optim) else 1),
        state_bytes=states,
        cache_bytes=2 * computes * shape.layers * shape.key_value,
        moved_bytes=elementwise_bytes(workload, shape),
        experts=shape.experts > 0,
        assumed=(f"{', '.join(shape.assumed)} of the model",) if shape.assumed else (),
    )


def active_body(model: ModelFacts, shape: Shape) -> float:
    """Active parameters per token outside embedding and head: without the experts it is not routed to.

    An expert has as many matrices as an MLP, of the hidden size by its inner width.
    """
    if not shape.experts:
        return float(shape.body)
    layers = shape.layers - (model.num_dense_layers or 0)
    idle = max(0, shape.experts - shape.experts_per_token)
    return max(0.0, shape.body - float(layers * idle * (3 if shape.gated else 2) * shape.hidden * shape.expert_ffn))


def _quantized(shape: Shape) -> float:
    """Parameters that bitsandbytes quantizes: the matrices of the layers, not the experts."""
    return float(min(shape.body, shape.layers * sum(inputs * outputs for inputs, outputs in shape.linears.values())))
