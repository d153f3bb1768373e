"""Memory of one GPU for a model sharded over several: a closed form, for FSDP and DeepSpeed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfjobs_trainer.planning.model.shape import Shape

# Layers that are whole on each GPU at a time: the one that computes and the one that is fetched meanwhile.
LIVE_LAYERS = 2
# DeepSpeed 0.19 keeps up to this many parameters whole, and updates as many at a time (its defaults for
# stage3_max_live_parameters and sub_group_size).
ZERO_LIVE, ZERO_GROUP = 1_000_000_000, 1_000_000_000
# Elements of the bucket in which DeepSpeed's stages 1 and 2 reduce gradients (its default): made in its whole size
# before each backward pass, however few are trained (zero/stage_1_and_2.py, backward; read, not run).
ZERO_BUCKET = 500_000_000


@dataclass(frozen=True, slots=True)
class Holding:
    """What one GPU holds throughout, and what it gathers temporarily; bytes.

    Attributes:
        weights, adapter, optimizer_states, reference_model: Held throughout.
        gradients: All gradients, at the end of the backward pass.
        gathered: Weights that are whole while layers are computed.
        reducing: Gradients of one layer before they are reduced and scattered.
        stepping: Temporary memory of the optimizer's step.
        unsynced: Gradients between the batches of one step, while not yet sharded.
    """

    weights: float
    adapter: float
    optimizer_states: float
    reference_model: float
    gradients: float
    gathered: float = 0.0
    reducing: float = 0.0
    stepping: float = 0.0
    unsynced: float | None = None


def spread(
    whole: Holding,
    shape: Shape,
    strategy: str,
    num_gpus: int,
    *,
    frozen: bool,
    width: int,
    trained: float,
    offload: bool,
    synced: bool,
    steps_on_host: bool = False,
    reshards: bool = True,
) -> Holding:
    """One GPU's shard of what a single GPU would hold.

    Args:
        whole: What one GPU would hold without sharding.
        shape: The model.
        strategy: ``"fsdp1"``, ``"fsdp2"``, ``"zero1"``, ``"zero2"`` or ``"zero3"``.
        num_gpus: GPUs that share.
        frozen: Whether most weights are not trained.
        width: Bytes per value in matrix products, the precision in which weights are gathered.
        trained: Parameters that are trained.
        synced: Whether FSDP reduces gradients after each batch, not once per step.
        offload: Whether what is held is offloaded to host memory.
        steps_on_host: Whether the optimizer states are, and its step runs there.
        reshards: Whether FSDP frees gathered weights between the forward and the backward pass.
    """
    if strategy.startswith("zero"):
        held = _zero(whole, shape, int(strategy[-1]), num_gpus, frozen=frozen, width=width, trained=trained)
    else:
        held = _fsdp(
            whole,
            shape,
            num_gpus,
            ends=shape.ends if strategy == "fsdp1" else shape.embedding,
            frozen=frozen,
            width=width,
            trained=trained,
            synced=synced,
            reshards=reshards,
        )
    if offload:
        return replace(held, weights=0.0, adapter=0.0, optimizer_states=0.0, gradients=0.0, stepping=0.0)
    return replace(held, optimizer_states=0.0, stepping=0.0) if steps_on_host else held


def _fsdp(
    whole: Holding,
    shape: Shape,
    num_gpus: int,
    *,
    ends: int,
    frozen: bool,
    width: int,
    trained: float,
    synced: bool,
    reshards: bool,
) -> Holding:
    """A unit for each layer; FSDP1 has one for embedding and head, whole until the pass ends, FSDP2 one for each."""
    # weights of 4 or 8 bits are gathered as they are
    layer = min(width * shape.body, max(0.0, whole.weights - width * shape.ends)) / shape.layers
    return Holding(
        weights=whole.weights / num_gpus,
        adapter=whole.adapter / num_gpus,
        optimizer_states=whole.optimizer_states / num_gpus,
        reference_model=whole.reference_model / num_gpus,
        gradients=whole.gradients / num_gpus,
        gathered=(LIVE_LAYERS if reshards else shape.layers) * layer + width * ends,
        reducing=0.0 if frozen else layer,
        stepping=whole.stepping / num_gpus,
        unsynced=None if synced else width * trained,
    )


def _zero(
    whole: Holding, shape: Shape, stage: int, num_gpus: int, *, frozen: bool, width: int, trained: float
) -> Holding:
    """DeepSpeed: weights in the precision of the arithmetic, and a float32 copy of the trained ones."""
    part = num_gpus if stage == 3 else 1
    weights = whole.weights if frozen else width * shape.parameters
    states = whole.optimizer_states + (4 * trained if width == 2 else 0)
    if stage == 3:
        # what is not freed yet, the layer that computes, and embedding and head, whose memory no other gathering reuses
        live = width * min(shape.parameters, ZERO_LIVE + shape.body / shape.layers + shape.ends)
        packed = whole.weights / (width * shape.parameters) if frozen else 1.0
        gathered, stepping = live * min(1.0, packed), 4.0 * min(ZERO_GROUP, trained / num_gpus)
    else:
        # gradients are flattened, then turned into float32; those of a bucket are copied before they are reduced
        gathered, stepping = width * (ZERO_BUCKET + min(ZERO_BUCKET, trained)), (width + 4.0) * trained / num_gpus
    return Holding(
        weights=weights / part,
        adapter=(width * trained if frozen else 0.0) / part,
        optimizer_states=states / num_gpus,
        reference_model=whole.reference_model / part,
        gradients=width * trained / (num_gpus if stage >= 2 else 1),
        gathered=gathered,
        stepping=stepping,
    )
