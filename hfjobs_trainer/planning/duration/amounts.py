"""How much a run has to do, independent of the machine: rows, tokens, passes, completions, evaluations, bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.arguments.precision import Precision
from hfjobs_trainer.planning.duration.arithmetic import Arithmetic, active_body, arithmetic_of
from hfjobs_trainer.planning.duration.lengths import PROMPT_TOKENS, UNBOUNDED_TOKENS, prompt_lengths
from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.duration.rows import RowLengths, row_lengths
from hfjobs_trainer.planning.layout import given_layout
from hfjobs_trainer.planning.memory.workload import workload_of
from hfjobs_trainer.planning.model.shape import BYTES, shape_of
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.specs.training import Passes

# Mean length of a completion as a share of the longest allowed: some end early, some are cut off.
ANSWER_SHARE = Range(0.15, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Generation:
    """Completions that the model generates during training.

    Attributes:
        answers: Completions per example of the batch: 2 if they form pairs, less than 1 if a completion is used for
            several steps or only some batches are generated.
        prompt: Tokens of a prompt.
        answer: Tokens of a completion.
        most: Most tokens of a completion.
        vllm: Whether vLLM generates them, or transformers' ``generate``.
        steps_together: Batches generated at once; ``None``: those of one optimizer step.
        turns: Times that the model writes in one completion, with calls of tools between them.
    """

    answers: float
    prompt: Range
    answer: Range
    most: float
    vllm: bool = False
    steps_together: int | None = None
    turns: int = 1


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much a run has to do, independent of the machine.

    Attributes:
        arithmetic: The cost of one token.
        passes: Passes of a sequence through the model.
        sequences: Sequences that one example of the batch becomes: 2 for pairs.
        recomputes: Whether the trainer supports ``gradient_checkpointing``.
        rows: Training rows, without those held out; ``None`` if only ``max_steps`` limits the run.
        examples_per_row: Examples of the batch per row and epoch: the completions of a prompt.
        lengths: Tokens of one sequence: prompt and completion together if completions are generated.
        packed: Whether rows are packed into sequences of ``max_length``.
        padded: Whether the rows of a batch are padded to its longest.
        max_length: Tokens of a packed sequence; ``None`` without packing.
        epochs: Epochs.
        max_steps: Optimizer steps, if the spec sets them; takes precedence over ``epochs``.
        half_precision: Whether the computation is in bf16 or fp16.
        generation: Generation during training; ``None`` without.
        eval_rows: Examples of one evaluation, one per completion; 0 without, ``None`` if unknown.
        eval_every: Optimizer steps between evaluations; below 1 a share of the run; ``None``: once per epoch.
        eval_first: Whether there is one before training.
        eval_batch_size: Batch size per GPU in evaluation.
        save_every: Optimizer steps between checkpoints, as ``eval_every``; 0: only the last.
        save_bytes: Bytes of one checkpoint.
        download_bytes: Bytes of the models to download.
        push_bytes: Bytes that are pushed to the Hub at the end; 0 if none.
        prepared_rows: Rows that are tokenized before training.
        processes: Processes that tokenize.
        vllm: Whether vLLM starts with the run.
        assumed: The assumptions.
    """

    arithmetic: Arithmetic
    passes: Passes
    rows: float | None
    lengths: RowLengths
    sequences: int = 1
    recomputes: bool = True
    examples_per_row: float = 1.0
    packed: bool = False
    padded: bool = True
    max_length: float | None = None
    epochs: float = 1.0
    max_steps: int | None = None
    half_precision: bool = True
    generation: Generation | None = None
    eval_rows: float | None = 0.0
    eval_every: float | None = None
    eval_first: bool = False
    eval_batch_size: int = 8
    save_every: float | None = 0.0
    save_bytes: float = 0.0
    download_bytes: float = 0.0
    push_bytes: float = 0.0
    prepared_rows: float = 0.0
    processes: int = 1
    vllm: bool = False
    assumed: tuple[str, ...] = ()


def amounts_of(run: Run, precision: Precision, *, packing: bool = False) -> Amounts | None:
    """How much a run has to do; ``None`` if something of ``run.unknown_amounts`` is missing.

    Args:
        run: The run; ``run.rows.lengths`` above all.
        precision: The run's precision.
        packing: Whether the planner packs its rows.
    """
    arithmetic = arithmetic_of(workload_of(run, precision, given_layout(run, 1)))
    if arithmetic is None or run.unknown_amounts:
        return None
    assumed = list(arithmetic.assumed)
    arithmetic = _with_others(run, precision, arithmetic, assumed)
    rows, answers, evaluation = run.rows, run.answers, run.evaluation
    packed = packing or rows.packed
    lengths, generation = _lengths(run, assumed)
    if evaluation.rows is None:
        assumed.append("no time for evaluation: the number of rows of eval_dataset is unknown")
    if run.model.is_vision:
        assumed.append("no image tokens: only text is counted")
    dtype = "float32" if precision.dtype == "auto" else precision.dtype
    trained = arithmetic.gradient_bytes
    # a reference that follows the model is saved beside it
    followed = arithmetic.parameters * BYTES[dtype] if run.syncs_reference else 0.0
    saved = arithmetic.parameters * BYTES[dtype] if arithmetic.tuning == "full" else trained
    return Amounts(
        arithmetic=arithmetic,
        passes=run.passes,
        rows=rows.trained,
        lengths=lengths,
        sequences=run.training.sequences,
        recomputes=run.training.recomputes,
        examples_per_row=float(answers.group * answers.rounds) if answers else 1.0,
        packed=packed,
        padded=rows.padded and not packing,
        max_length=rows.max_length if packed else None,
        epochs=run.epochs,
        max_steps=run.max_steps,
        half_precision=precision.mixed != "fp32",
        generation=generation,
        eval_rows=evaluation.rows,
        eval_every=evaluation.every,
        eval_first=evaluation.first,
        eval_batch_size=run.batch.eval_per_device,
        save_every=run.saving.every,
        save_bytes=saved + (arithmetic.state_bytes if run.saving.resumable else 0.0) + followed,
        download_bytes=_download_bytes(run.model, arithmetic),
        push_bytes=(arithmetic.parameters * 2 if run.merges else saved) if run.output.pushes else 0.0,
        prepared_rows=0.0 if rows.streamed else (rows.total or 0.0),
        processes=rows.processes,
        vllm=run.vllm is not None,
        assumed=tuple(dict.fromkeys(assumed)),
    )


def _with_others(run: Run, precision: Precision, arithmetic: Arithmetic, assumed: list[str]) -> Arithmetic:
    """Add the forward passes of a teacher, a reward and a value model; unknown ones count as large as the model."""
    width = BYTES.get(precision.frozen_dtype, 2.0)
    for side, known in run.side_models:
        model, shape = known, shape_of(known) if known is not None else None
        if model is None or shape is None:
            assumed.append(f"a {side.role} as large as the model")
            model, shape = run.model, run.shape
        if shape is None:
            continue
        head = float(shape.embedding) if side.head else 0.0
        arithmetic = replace(
            arithmetic,
            other_body=arithmetic.other_body + side.passes * (active_body(model, shape) + head),
            other_attention=arithmetic.other_attention + side.passes * shape.layers * shape.query,
            other_bytes=arithmetic.other_bytes + width * shape.parameters,
            other_layers=arithmetic.other_layers + side.passes * shape.layers,
        )
    return arithmetic


def _lengths(run: Run, assumed: list[str]) -> tuple[RowLengths, Generation | None]:
    """Tokens of a sequence, and the generation among them."""
    rows, answers = run.rows, run.answers
    if answers is None:
        # rows that packing splits are not truncated
        limit = None if rows.splits else rows.max_length
        lengths = row_lengths(rows.lengths, limit, rows.max_length or UNBOUNDED_TOKENS)
        if lengths.assumed:
            assumed.append(lengths.assumed)
        return lengths, None
    most = float(answers.most or UNBOUNDED_TOKENS)
    prompts = row_lengths(prompt_lengths(rows.lengths), None, PROMPT_TOKENS)
    if prompts.assumed:
        assumed.append(prompts.assumed.replace("row", "prompt", 1))
    answer = ANSWER_SHARE * most
    assumed.append(f"completions of {ANSWER_SHARE.expected:.0%} of {answers.bound}={most:,.0f} tokens")
    if answers.assumed:
        assumed.append(answers.assumed)
    generation = Generation(
        answers=answers.per_example * answers.share,
        prompt=prompts.mean,
        answer=answer,
        most=most,
        vllm=run.vllm is not None,
        steps_together=answers.batches,
        turns=answers.turns,
    )
    return RowLengths(prompts.mean + answer, prompts.spread, None), generation


def _download_bytes(model: ModelFacts, arithmetic: Arithmetic) -> float:
    """Bytes of the models on the Hub; half precision if their dtype is unknown."""
    total = arithmetic.parameters * BYTES.get(model.dtype or "", 2.0) if model.path is None else 0.0
    return total + arithmetic.other_bytes
