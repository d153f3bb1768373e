"""The training step of a method, as planning sees it: each spec class declares it once, as ``TRAINING``.

Everything that planning, simulating and the rules know about a method beyond its arguments is declared here, so that a
method is one file. The figures are those of TRL 1.16's trainers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Head = Literal["fused", "full", "none"]
"""How the logits are computed: in tiles, all at once, or not at all (a scalar score)."""


Renders = Literal["labels", "last_answer", "pairs", "ended_pairs", "unpaired", "scores", "prompts"]
"""How a trainer makes tokens of a row: with labels for all of it or a part; for the last answer alone; for both answers
of a pair, and ended whatever the template does; for an answer; as what is scored; for the prompt alone."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes of a sequence through the model in training.

    Attributes:
        trained: Forward and backward passes of each sequence; PPO makes several.
        frozen: Forward passes without a backward pass: reference model, old log probabilities.
        mini_batches: Accumulations of gradients per optimizer step beyond ``gradient_accumulation_steps``.
    """

    trained: float = 1.0
    frozen: float = 0.0
    mini_batches: int = 1


@dataclass(frozen=True, slots=True)
class Answers:
    """The completions that the model generates in training.

    Attributes:
        bound: The argument that limits a completion, such as ``"max_completion_length"``.
        most: Its value, tokens; ``None`` without a limit.
        within_max_length: Whether ``max_length`` limits prompt and completion together.
        per_example: Completions per example of the batch: 2 if they form pairs.
        share: Share of the batches for which completions are generated: below 1 if they are reused, or come from the
            dataset.
        batches: Batches generated at once; ``None``: those of one optimizer step.
        group: Examples of the batch per prompt: the completions that are compared.
        eval_group: The same in an evaluation.
        rounds: Optimizer steps on each completion.
        total: Completions of the whole run, if the spec sets it.
        turns: Times that the model writes in one completion, with calls of tools between them.
        keeps_logits: Whether the logits of all completions of a step are kept until the next.
        assumed: The assumption, if any; empty for none.
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
    turns: int = 1
    keeps_logits: bool = False
    assumed: str = ""


@dataclass(frozen=True, slots=True)
class SideModel:
    """A model of the run other than the trained one.

    Attributes:
        role: Its role: ``"teacher"``, ``"reward model"``, ``"value model"``.
        field: Field of the spec that names it.
        id: Hub id or local folder; ``None`` if it starts from another side model.
        fact: Field of ``Facts`` with the facts about it.
        revision: Branch, tag or commit.
        index: Its index in that field, if there are several.
        passes: Forward passes of each sequence.
        held: ``"frozen"``: in the dtype of frozen models; ``"model"``: as the trained model is loaded; ``"trained"``:
            in float32 with its own gradients and optimizer states.
        head: Whether its logits are computed.
        is_reference: Whether it is the reference, of which no copy of the trained model is needed then.
    """

    role: str
    field: str
    id: str | None
    fact: Literal["teacher", "ref_model", "reward_model", "value_model", "reward_models"]
    revision: str | None = None
    index: int | None = None
    passes: float = 1.0
    held: Literal["frozen", "model", "trained"] = "frozen"
    head: bool = False
    is_reference: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The training step of a method. Nothing has a default: a method declares all of it.

    Attributes:
        sequences: Rows of a batch per example: 2 for pairs.
        head: How the logits are computed.
        reference: Whether a frozen copy of the model is kept if there is no adapter to disable; ``"beta"``: if ``beta``
            is not 0.
        passes: Passes per sequence, given the spec.
        answers: The completions that the model generates in training, given the spec; ``None`` if none.
        side_models: The other models of the run, given the spec.
        free_batch: Whether the batch size per device only decides how many rows are computed at once.
        least_per_device: Smallest batch size per device that the loss supports.
        recomputes: Whether the trainer supports ``gradient_checkpointing``.
        resumes: Whether its trainer can go on from a checkpoint.
        evaluates_loss: Whether its evaluation is a forward pass for the loss alone.
        evaluates_at_start: Whether its trainer supports ``eval_on_start``.
        packs: Whether its trainer packs rows into one sequence.
        long_rows: What becomes of rows above ``max_length``; ``None`` if it does not limit the dataset's rows.
        refuses_streams: Whether its trainer does not take streamed datasets.
        bf16_adapter: Whether the trainer casts an adapter on quantized weights to bfloat16.
        reads_images: Whether its trainer supports images.
        renders: How its trainer makes tokens of a row: a key of ``tokenizing.sequences.WAYS``.
        simulated_step: Key of its step in ``simulating``; ``None`` if it is not simulated.
        recipe: Key of its starting values in ``data/recipes.json``; ``None`` if no source gives any.
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
    resumes: bool
    evaluates_loss: bool
    evaluates_at_start: bool
    packs: bool
    long_rows: Literal["truncated", "dropped"] | None
    refuses_streams: bool
    bf16_adapter: bool
    reads_images: bool
    renders: Renders
    simulated_step: str | None
    recipe: str | None

    @property
    def reference_needs_beta(self) -> bool:
        """Whether there is no reference model if ``beta`` is 0."""
        return self.reference == "beta"

    def keeps_reference(self, *, adapter: bool, beta: float | None = None) -> bool:
        """Whether a frozen copy of the model is kept.

        Args:
            adapter: Whether an adapter is trained: with it disabled, the model is its own reference.
            beta: Weight of the divergence from the reference, if the method has one.
        """
        return not adapter and (self.reference == "kept" or (self.reference == "beta" and bool(beta)))


def one_pass(_: Any) -> Passes:
    """One forward and one backward pass of each sequence."""
    return Passes()


def reference_passes(spec: Any) -> float:
    """Forward passes of the reference model for each sequence: fewer than one if they are precomputed."""
    if not spec.precompute_ref_log_probs:
        return 1.0
    return 0.0 if spec.max_steps > 0 else 1.0 / max(1.0, spec.num_train_epochs)
