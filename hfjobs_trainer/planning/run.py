"""A run, understood: what a spec and the facts about its model and data mean together. Types only.

``understand`` makes a ``Run`` once; whatever plans from there on reads it, and never the spec's training fields again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hfjobs_trainer.facts import LengthFacts, ModelFacts, SimulationFacts
from hfjobs_trainer.planning.arguments.strategies import Spread
from hfjobs_trainer.planning.model.shape import Shape
from hfjobs_trainer.specs.base import DType
from hfjobs_trainer.specs.groups import Dataset, Hardware, LoRA, Output, Quantization, Tracking
from hfjobs_trainer.specs.registry import Method
from hfjobs_trainer.specs.training import Answers, Passes, SideModel, Training

MixedPrecision = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What the user said of batches, TRL's defaults included.

    Attributes:
        per_device: Rows that one GPU computes at once.
        per_device_is_set: Whether the user set it.
        accumulation: Batches of one optimizer step.
        accumulation_is_set: Whether the user set it.
        global_size: Sequences per optimizer step over all GPUs; ``None`` where they follow from the two above.
        is_free: Whether rows per device mean nothing but how many are computed at once.
        least: The fewest rows per device that the loss can work with.
        generation_size: Answers that are generated at once over all GPUs, where the user set it.
        eval_per_device: Rows that one GPU evaluates at once.
        eval_follows: Whether the planner may lower that to what training computes at once.
    """

    per_device: int
    per_device_is_set: bool
    accumulation: int
    accumulation_is_set: bool
    global_size: int | None
    is_free: bool
    least: int
    generation_size: int | None
    eval_per_device: int
    eval_follows: bool

    @property
    def is_open(self) -> bool:
        """Whether the rows per device are the planner's to choose where no global batch is given."""
        return self.is_free and not self.per_device_is_set and not self.accumulation_is_set


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that are trained on.

    Attributes:
        total: Rows of the dataset, those held out included; ``None`` where unknown.
        held_out: Those of them that are kept for evaluation.
        lengths: How long they are; ``None`` where unknown.
        max_length: Tokens at which a row is cut; ``None`` without a limit.
        packed: Whether the user has rows packed into sequences of ``max_length``.
        splits: Whether a row that does not fit goes on in the next sequence.
        padded: Whether the rows of a batch are padded to its longest.
        streamed: Whether they are read as they are needed.
        processes: Processes that tokenize them.
        most_packed: Packed sequences that one GPU computes at once at most, if the planner packs; 0 where it may not.
    """

    total: float | None
    held_out: float
    lengths: LengthFacts | None
    max_length: int | None
    packed: bool
    splits: bool
    padded: bool
    streamed: bool
    processes: int
    most_packed: int

    @property
    def trained(self) -> float | None:
        """Rows that are trained on; ``None`` where unknown."""
        return None if self.total is None else self.total - self.held_out


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluations during training.

    Attributes:
        in_memory: Whether one is a forward pass that asks for the loss alone, whose memory is estimated.
        has_set: Whether the spec names an evaluation set.
        rows: Rows of one; 0 without, ``None`` where unknown.
        every: Optimizer steps between two; below 1 a share of the run; ``None``: once an epoch.
        first: Whether there is one before training.
    """

    in_memory: bool
    has_set: bool
    rows: float | None
    every: float | None
    first: bool


@dataclass(frozen=True, slots=True)
class Saving:
    """Checkpoints.

    Attributes:
        every: Optimizer steps between two; below 1 a share of the run; ``None``: once an epoch; 0: none.
        limit: Checkpoints that are kept; ``None`` for all.
        limit_is_set: Whether the user set it.
        keeps_best: Whether the best is kept beside the newest.
        resumable: Whether a checkpoint holds the states of the optimizer as well.
    """

    every: float | None
    limit: int | None
    limit_is_set: bool
    keeps_best: bool
    resumable: bool


@dataclass(frozen=True, slots=True)
class Vllm:
    """A vLLM that writes the answers.

    Attributes:
        colocated: Whether it runs in the training processes, on the same GPUs.
        starts_server: Whether the script starts a server for it.
        apart: Whether that server has the last of several nodes to itself.
        gpus, gpus_is_set: ``vllm_tensor_parallel_size``, and whether the user set it.
        share, share_is_set: ``vllm_gpu_memory_utilization``, and whether the user set it.
        chooses_context: Whether ``vllm_max_model_length`` is an argument of the method that the user left open.
        tokens: Tokens of the longest sequence that it has to hold.
        port: Port of its server.
        timeout: Seconds that the user gives it to start; ``None`` where left open.
        options: Further options of its server.
    """

    colocated: bool
    starts_server: bool
    apart: bool
    gpus: int
    gpus_is_set: bool
    share: float
    share_is_set: bool
    chooses_context: bool
    tokens: int
    port: int
    timeout: float | None
    options: Mapping[str, Any]

    @property
    def gpus_set_aside(self) -> int:
        """GPUs of a machine that trains which its server takes; 0 where it starts none."""
        return self.gpus if self.starts_server and not self.apart else 0

    @property
    def is_ours(self) -> bool:
        """Whether the run starts it."""
        return self.colocated or self.starts_server


@dataclass(frozen=True, slots=True)
class Run:
    """A spec and the facts, understood.

    Attributes:
        method: Names of the method and of its classes in TRL.
        training: What its training step is.
        given: Arguments of TRL's config that the user set, in the order of TRL's table.
        model_id: Hub id or local folder of the model.
        model: What is known of it.
        shape: Its layers and matrices; ``None`` where unknown.
        num_parameters: Its parameters; ``None`` where unknown.
        sees: Whether it is a vision model, or must be one for its dataset.
        side_models: The models beside it, each with what is known of it.
        answers: The answers that it writes in training; ``None`` if it writes none.
        passes: Passes per sequence.
        beta: Weight of the divergence from the reference; ``None`` where the method has none.
        lora, quantization: As in the spec.
        adapts_all: Whether a new adapter needs its modules named: every linear layer then.
        trains_weights: Whether weights of the model itself are trained, in the dtype in which they are loaded.
        bf16_adapter: Whether the adapter is trained in bfloat16, whatever the precision of the arithmetic.
        merges: What is saved of an adapter: ``""`` itself, ``"only"`` the model it is merged into, ``"both"``.
        dtype: dtype of the weights that the user set.
        mixed_precision: Mixed precision that the user set; ``None`` where left open.
        use_cpu: Whether a GPU is left alone.
        optim, attention, liger_kernel, activation_offloading: As in TRL's config.
        optim_is_set: Whether the user set it.
        batch: What the user said of batches.
        recomputes: Whether activations are recomputed as the spec has it, TRL's default included.
        may_keep_activations: Whether the planner may switch that off.
        hardware: As in the spec.
        strategy: The strategy to try first: the user's, or a copy of the model on each GPU.
        spread: What the user's own ``fsdp`` and ``deepspeed`` come to; ``None`` where they are none, or unclear.
        zero3_obstacles: Fields that ZeRO-3 cannot do.
        nodes: Machines that train.
        vllm: The vLLM that writes the answers; ``None`` without.
        dataset: The training dataset, as in the spec.
        rows: The rows that are trained on.
        epochs: Passes over them.
        max_steps: Optimizer steps where the spec says; it wins over ``epochs``.
        evaluation, saving: What happens in between.
        timeout_is_set: Whether the user set ``ddp_timeout``.
        lifts_max_length: Whether rows are left uncut because a cut may lose the tokens of an image.
        output_dir: Folder of the model; ``None`` where left open.
        output, tracking: As in the spec.
        namespace: Whose job, model and Space it is; ``None`` where unknown.
        private_inputs: Private and gated inputs, such as ``"the model is gated"``.
        image: Docker image that the user named.
        simulation: Training steps that were simulated.
        unknown: What must be known before memory can be told, and is not.
        unknown_work: What must be known before time can be told, and is not.
    """

    method: Method
    training: Training
    given: Mapping[str, Any]
    model_id: str
    model: ModelFacts
    shape: Shape | None
    num_parameters: int | None
    sees: bool
    side_models: tuple[tuple[SideModel, ModelFacts | None], ...]
    answers: Answers | None
    passes: Passes
    beta: float | None
    lora: LoRA | None
    quantization: Quantization | None
    adapts_all: bool
    trains_weights: bool
    bf16_adapter: bool
    merges: Literal["", "only", "both"]
    dtype: DType | None
    mixed_precision: MixedPrecision | None
    use_cpu: bool
    optim: str
    optim_is_set: bool
    attention: str | None
    liger_kernel: bool
    activation_offloading: bool
    batch: Batch
    recomputes: bool
    may_keep_activations: bool
    hardware: Hardware
    strategy: str
    spread: Spread | None
    zero3_obstacles: tuple[str, ...]
    nodes: int
    vllm: Vllm | None
    dataset: Dataset
    rows: Rows
    epochs: float
    max_steps: int | None
    evaluation: Evaluation
    saving: Saving
    timeout_is_set: bool
    lifts_max_length: bool
    output_dir: str | None
    output: Output
    tracking: Tracking
    namespace: str | None
    private_inputs: tuple[str, ...]
    image: str | None
    simulation: SimulationFacts | None
    unknown: tuple[str, ...]
    unknown_work: tuple[str, ...]

    @property
    def keeps_reference(self) -> bool:
        """Whether a second, frozen copy of the model is held."""
        return self.training.keeps_reference(adapter=self.lora is not None, beta=self.beta)
