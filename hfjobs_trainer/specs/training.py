"""What a training method is, in the terms of the planner: each spec class declares it once, as ``TRAINING``.

Everything that planning, simulating and the rules know of a method beyond its arguments stands here, so that a method
is its own file and nothing else. The figures are those of TRL 1.16's trainers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Head = Literal["fused", "full", "none"]
"""How the logits are computed: in tiles that are never held together, all at once, or not at all (a scalar score)."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a sequence passes the model in training.

    Attributes:
        trained: Forward and backward passes of each sequence; PPO makes several.
        frozen: Forward passes without a backward one: reference model, log probabilities of before.
        mini_batches: Accumulations of gradients per optimizer step beyond ``gradient_accumulation_steps``.
    """

    trained: float = 1.0
    frozen: float = 0.0
    mini_batches: int = 1


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers that the model writes while it is trained.

    Attributes:
        bound: The argument that bounds an answer, such as ``"max_completion_length"``.
        most: Its value, tokens; ``None`` without a bound.
        within_max_length: Whether ``max_length`` bounds prompt and answer together.
        per_example: Answers to one example of the batch: 2 where pairs are made of them.
        share: Share of the batches for which answers are written: below 1 where they are used again, or come from the
            dataset.
        batches: Batches that are generated at once; ``None``: those of one optimizer step.
        group: Examples of the batch that one prompt becomes: the answers that are compared.
        eval_group: The same in an evaluation.
        rounds: Optimizer steps that are taken on each answer.
        total: Answers of the whole run, where the spec counts them.
        keeps_logits: Whether the logits of all answers of a step are kept until the next.
        assumed: What of this is a guess; empty for nothing.
    """

    bound: str
    most: int | None
    within_max_length: bool = False
    per_example: int = 1
    share: float = 1.0
    batches: int | None = None
    group: int = 1
    eval_group: int = 1
    rounds: int = 1
    total: int | None = None
    keeps_logits: bool = False
    assumed: str = ""


@dataclass(frozen=True, slots=True)
class SideModel:
    """A model that takes part beside the one that is trained.

    Attributes:
        role: What it is: ``"teacher"``, ``"reward model"``, ``"value model"``.
        field: Field of the spec that names it.
        id: Hub id or local folder; ``None`` where it starts from another side model.
        fact: Field of ``Facts`` that knows it.
        revision: Branch, tag or commit.
        index: Its place in that field, where there are several.
        passes: Forward passes of each sequence.
        held: ``"frozen"`` in the dtype of models that are not trained, ``"model"`` as the trained one is loaded,
            ``"trained"`` as float32 with gradients and optimizer states of its own.
        head: Whether its logits are computed.
    """

    role: str
    field: str
    id: str | None
    fact: Literal["teacher", "reward_model", "value_model", "reward_models"]
    revision: str | None = None
    index: int | None = None
    passes: float = 1.0
    held: Literal["frozen", "model", "trained"] = "frozen"
    head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a method's training step is. Nothing has a default: a method says all of it.

    Attributes:
        sequences: Rows of a batch that one example becomes: 2 for pairs.
        head: How the logits are computed.
        reference: Whether a frozen copy of the model is kept where there is no adapter to switch off; ``"beta"``: if
            ``beta`` is not 0.
        passes: Passes per sequence, given the spec.
        answers: The answers that the model writes in training, given the spec; ``None`` if it writes none.
        side_models: The models beside the one that is trained, given the spec.
        free_batch: Whether the batch per device means nothing but how many rows are computed at once.
        least_per_device: Fewest rows per device that the loss can work with.
        recomputes: Whether the trainer honours ``gradient_checkpointing``.
        evaluates_loss: Whether its evaluation is a forward pass that asks for the loss alone.
        packs: Whether its trainer packs rows into one sequence.
        drops_long_rows: Whether rows above ``max_length`` are left out instead of cut.
        bf16_adapter: Whether the trainer turns an adapter on quantized weights into bfloat16.
        reads_images: Whether its trainer takes images.
        simulated_step: Key of its step in ``simulating``; ``None`` if it is not simulated.
    """

    sequences: int
    head: Head
    reference: Literal["kept", "beta", "none"]
    passes: Callable[[Any], Passes]
    answers: Callable[[Any], Answers] | None
    side_models: Callable[[Any], tuple[SideModel, ...]] | None
    free_batch: bool
    least_per_device: int
    recomputes: bool
    evaluates_loss: bool
    packs: bool
    drops_long_rows: bool
    bf16_adapter: bool
    reads_images: bool
    simulated_step: str | None

    def keeps_reference(self, *, adapter: bool, beta: float | None = None) -> bool:
        """Whether a second copy of the model is held.

        Args:
            adapter: Whether an adapter is trained: without it the model is its own reference.
            beta: Weight of the divergence from the reference, where the method has one.
        """
        return not adapter and (self.reference == "kept" or (self.reference == "beta" and bool(beta)))


def one_pass(_: Any) -> Passes:
    """One forward and one backward pass of each sequence."""
    return Passes()


def reference_passes(spec: Any) -> float:
    """Forward passes of the reference model for each sequence: fewer than one where its answers are computed ahead."""
    if not spec.precompute_ref_log_probs:
        return 1.0
    return 0.0 if spec.max_steps > 0 else 1.0 / max(1.0, spec.num_train_epochs)
