"""A run: what a spec and the facts about its model and data mean together. Types only.

``understand`` makes a ``Run`` once; all planning reads it, and never the spec's training fields again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hfjobs_trainer.facts import LengthFacts, ModelFacts, SimulationFacts
from hfjobs_trainer.planning.arguments.strategies import Spread
from hfjobs_trainer.planning.model.shape import Shape
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.problems import Unknown
from hfjobs_trainer.specs.base import DType
from hfjobs_trainer.specs.groups import Dataset, Hardware, LoRA, Output, Quantization, Tracking
from hfjobs_trainer.specs.registry import Method
from hfjobs_trainer.specs.training import Answers, Passes, SideModel, Training

MixedPrecision = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch settings of the user, TRL's defaults included.

    Attributes:
        per_device: Batch size per device.
        per_device_is_set: Whether the user set it.
        accumulation: Batches per optimizer step.
        accumulation_is_set: Whether the user set it.
        global_size: Sequences per optimizer step over all GPUs; ``None`` if they follow from the two above.
        is_free: Whether the batch size per device only decides how many rows are computed at once.
        least: Smallest batch size per device that the loss supports.
        generation_size: Completions generated at once over all GPUs, if the user set it.
        eval_per_device: Evaluation batch size per device.
        eval_follows: Whether the planner may lower that to the training batch size.
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
        """Whether the planner may choose the batch size per device if no global batch is given."""
        return self.is_free and not self.per_device_is_set and not self.accumulation_is_set


@dataclass(frozen=True, slots=True)
class Rows:
    """The training rows.

    Attributes:
        total: Rows of the dataset, those held out included; ``None`` if unknown.
        held_out: Rows of it that are held out for evaluation.
        lengths: Their lengths; ``None`` if unknown.
        max_length: Tokens at which a row is truncated; ``None`` without a limit.
        packed: Whether the user has rows packed into sequences of ``max_length``.
        splits: Whether a row that does not fit continues in the next sequence.
        padded: Whether the rows of a batch are padded to its longest.
        streamed: Whether they are streamed.
        processes: Processes that tokenize them.
        most_packed: Most packed sequences per device, if the planner packs; 0 if it may not.
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
        """Number of training rows; ``None`` if unknown."""
        return None if self.total is None else self.total - self.held_out


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluations during training.

    Attributes:
        in_memory: Whether one is a forward pass for the loss alone, whose memory is estimated.
        has_set: Whether the spec names an evaluation set.
        rows: Rows of one; 0 without, ``None`` if unknown.
        every: Optimizer steps between two; below 1 a share of the run; ``None``: once per epoch.
        first: Whether there is one before training.
        chooses_first: Whether that is left to the planner.
    """

    in_memory: bool
    has_set: bool
    rows: float | None
    every: float | None
    first: bool
    chooses_first: bool


@dataclass(frozen=True, slots=True)
class Saving:
    """Checkpoints.

    Attributes:
        every: Optimizer steps between two; below 1 a share of the run; ``None``: once per epoch; 0: none.
        limit: Checkpoints to keep; ``None`` for all.
        limit_is_set: Whether the user set it.
        keeps_best: Whether the best is kept as well as the newest.
        resumable: Whether a checkpoint has the optimizer states as well.
        is_open: Whether the planner may choose when checkpoints are written.
    """

    every: float | None
    limit: int | None
    limit_is_set: bool
    keeps_best: bool
    resumable: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class Vllm:
    """A vLLM that generates the completions.

    Attributes:
        colocated: Whether it runs in the training processes, on the same GPUs.
        starts_server: Whether the script starts its server.
        apart: Whether that server has the last node to itself.
        gpus, gpus_is_set: ``vllm_tensor_parallel_size``, and whether the user set it.
        share, share_is_set: ``vllm_gpu_memory_utilization``, and whether the user set it.
        chooses_context: Whether ``vllm_max_model_length`` is an argument of the method that the user left open.
        tokens: Tokens of the longest sequence that must fit.
        port: Port of its server.
        timeout: Seconds that the user gives it to start; ``None`` if left open.
        options: Other options of its server.
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
        """GPUs of a training machine that its server takes; 0 if the script starts none."""
        return self.gpus if self.starts_server and not self.apart else 0

    @property
    def is_ours(self) -> bool:
        """Whether the run starts vLLM itself."""
        return self.colocated or self.starts_server


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """What a spec and the facts mean together.

    Attributes:
        method: Names of the method and of its classes in TRL.
        training: Its training step.
        given: Arguments of TRL's config that the user set, in the order of TRL's table.
        model_id: Hub id or local folder of the model.
        model: Facts about it.
        shape: Its layers and matrices; ``None`` if unknown.
        num_parameters: Its number of parameters; ``None`` if unknown.
        sees: Whether it is a vision model, or has to be one for its dataset.
        side_models: The other models, each with the facts about it.
        answers: The completions that it generates in training; ``None`` if none.
        passes: Passes per sequence.
        beta: Weight of the divergence from the reference; ``None`` if the method has none.
        lora: As in the spec, with what was left open filled in.
        lora_choices: What was decided for it.
        quantization: As in the spec.
        trains_weights: Whether weights of the model itself are trained, in the dtype in which they are loaded.
        bf16_adapter: Whether the adapter is trained in bfloat16, whatever the mixed precision.
        merges: What is saved of an adapter: ``""`` itself, ``"only"`` the model it is merged into, ``"both"``.
        dtype: dtype of the weights that the user set.
        mixed_precision: Mixed precision that the user set; ``None`` if left open.
        use_cpu: Whether a GPU is not used.
        optim, attention, liger_kernel, activation_offloading: As in TRL's config.
        optim_is_set: Whether the user set it.
        batch: The batch settings of the user.
        recomputes: Whether activations are recomputed by the spec, TRL's default included.
        may_keep_activations: Whether the planner may switch that off.
        hardware: As in the spec.
        strategy: The strategy to try first: the user's, or a copy of the model on each GPU.
        spread: What the user's own ``fsdp`` and ``deepspeed`` mean; ``None`` without them, or if unclear.
        zero3_obstacles: Fields that ZeRO-3 does not support.
        nodes: Machines that train.
        vllm: The vLLM that generates the completions; ``None`` without.
        dataset: The training dataset, as in the spec.
        rows: The training rows.
        epochs: Epochs.
        max_steps: Optimizer steps, if the spec sets them; takes precedence over ``epochs``.
        evaluation, saving: Evaluations and checkpoints.
        syncs_reference: Whether the reference follows the model during training.
        timeout_is_set: Whether the user set ``ddp_timeout``.
        lifts_max_length: Whether ``max_length`` is lifted because truncation may remove tokens of an image.
        output_dir: Output folder of the model; ``None`` if left open.
        output, tracking: As in the spec.
        namespace: Owner of the job, the model and the Space; ``None`` if unknown.
        private_inputs: Private and gated inputs, such as ``"the model is gated"``.
        image: Docker image that the user named.
        simulation: Training steps that were simulated.
        unknown: What is needed to estimate memory, and unknown.
        unknown_amounts: What is needed to estimate the duration, and unknown.
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
    lora_choices: tuple[Decision, ...]
    quantization: Quantization | None
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
    syncs_reference: bool
    timeout_is_set: bool
    lifts_max_length: bool
    output_dir: str | None
    output: Output
    tracking: Tracking
    namespace: str | None
    private_inputs: tuple[str, ...]
    image: str | None
    simulation: SimulationFacts | None
    unknown: tuple[Unknown, ...]
    unknown_amounts: tuple[Unknown, ...]

    @property
    def keeps_reference(self) -> bool:
        """Whether a second, frozen copy of the model is held."""
        given = any(side.is_reference for side, _ in self.side_models)
        return not given and self.training.keeps_reference(adapter=self.lora is not None, beta=self.beta)

    def __repr__(self) -> str:
        return f"<Run: {self.method.label} of {self.model_id}>"
