"""How much work a run is, whatever the machine: rows, tokens, passes, answers, evaluations, bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.arguments.decide import Resolved
from hfjobs_trainer.planning.arguments.tuning import merges
from hfjobs_trainer.planning.arguments.vllm import uses_vllm
from hfjobs_trainer.planning.duration.arithmetic import BYTES, Arithmetic, active_body, arithmetic_of
from hfjobs_trainer.planning.duration.lengths import prompt_lengths
from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.duration.rows import RowLengths, row_lengths
from hfjobs_trainer.planning.model.shape import shape_of
from hfjobs_trainer.planning.workload import PROMPT_TOKENS, UNBOUNDED_TOKENS, workload
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import side_models
from hfjobs_trainer.specs.training import Answers, Passes

# Share of the longest answer allowed that an answer has on average: some end early, some are cut off.
ANSWER_SHARE = Range(0.15, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Generation:
    """Answers that the model writes while it is trained.

    Attributes:
        answers: Answers per example of the batch: 2 where pairs are made of them, less than 1 where an answer is used
            for several steps or only some batches are generated.
        prompt: Tokens of a prompt.
        answer: Tokens of an answer.
        most: Most tokens of an answer.
        vllm: Whether vLLM writes them, or transformers' ``generate``.
        steps_together: Batches that are generated at once; ``None``: those of one optimizer step.
    """

    answers: float
    prompt: Range
    answer: Range
    most: float
    vllm: bool = False
    steps_together: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a run, independent of the machine.

    Attributes:
        arithmetic: What one token costs.
        passes: How often a sequence passes the model.
        sequences: Sequences that one example of the batch becomes: 2 for pairs.
        recomputes: Whether the trainer honours ``gradient_checkpointing``.
        rows: Training rows, those held out left out; ``None`` if only ``max_steps`` says how long the run is.
        examples_per_row: Examples of the batch that one row becomes in an epoch: the answers to a prompt.
        lengths: Tokens of one sequence: prompt and answer together where answers are generated.
        packed: Whether rows are packed into sequences of ``max_length``.
        padded: Whether the rows of a batch are padded to its longest.
        max_length: Tokens of a packed sequence; ``None`` without packing.
        epochs: Passes over the rows.
        max_steps: Optimizer steps, where the spec says; it wins over ``epochs``.
        half_precision: Whether the arithmetic is bf16 or fp16.
        generation: Answers written during training; ``None`` without.
        eval_rows: Examples of one evaluation, as many of a prompt as it gets answers; 0 without, ``None`` if unknown.
        eval_every: Optimizer steps between evaluations; below 1 a share of the run; ``None``: once an epoch.
        eval_first: Whether there is one before training.
        eval_batch_size: Rows at once on one GPU.
        save_every: Optimizer steps between checkpoints, as ``eval_every``; 0: none but the last.
        save_bytes: Bytes of one checkpoint.
        download_bytes: Models that are downloaded first.
        push_bytes: What is pushed to the Hub at the end; 0 if nothing is.
        prepared_rows: Rows that are tokenized before training.
        processes: Processes that tokenize.
        vllm: Whether vLLM starts with the run.
        assumed: What is guessed.
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


def unknown_work(spec: TrainSpec, facts: Facts) -> tuple[str, ...]:
    """What must be known before the work can be told, and is not; empty if ``work_of`` tells it."""
    missing = [] if shape_of(facts.model) is not None else ["the size of the model"]
    if _rows(spec.dataset, facts) is None and _max_steps(spec) is None:
        missing.append("the rows of the dataset (or max_steps)")
    return tuple(missing)


def work_of(spec: TrainSpec, facts: Facts, resolved: Resolved) -> Work | None:
    """The work of a run; ``None`` if something of ``unknown_work`` is missing.

    Args:
        spec: The spec.
        facts: What is known of model and data; ``facts.dataset.lengths`` above all.
        resolved: The spec with everything decided; of it, only what does not depend on the machine is used.
    """
    asked = workload(spec, facts, resolved)
    arithmetic = arithmetic_of(asked)
    if arithmetic is None or unknown_work(spec, facts):
        return None
    training, assumed = type(spec).TRAINING, list(arithmetic.assumed)
    answers = training.answers(spec) if training.answers else None
    values = spec.model_dump()
    arithmetic = _with_others(spec, facts, resolved, arithmetic, assumed)
    rows = _rows(spec.dataset, facts)
    lengths, generation = _lengths(spec, facts, values, resolved, answers, assumed)
    total, held = rows, 0.0
    if rows is not None and spec.eval_fraction is not None:
        held = float(-int(-(rows * spec.eval_fraction) // 1))
        rows -= held
    eval_rows = _eval_rows(spec, facts, held, assumed)
    if eval_rows and answers is not None:
        eval_rows *= answers.eval_group
    packed = bool(resolved.arguments.get("packing", values.get("packing")))
    limit = resolved.arguments.get("max_length", values.get("max_length"))
    if facts.model.is_vision:
        assumed.append("no tokens of images: only text is counted")
    trained_bytes = arithmetic.gradient_bytes
    saved = arithmetic.parameters * BYTES[asked.dtype] if arithmetic.tuning == "full" else trained_bytes
    pushed = arithmetic.parameters * 2 if merges(spec) else saved
    return Work(
        arithmetic=arithmetic,
        passes=training.passes(spec),
        sequences=training.sequences,
        recomputes=training.recomputes,
        rows=rows,
        lengths=lengths,
        examples_per_row=float(answers.group * answers.rounds) if answers else 1.0,
        packed=packed,
        padded=not packed and not values.get("padding_free"),
        max_length=limit if packed else None,
        epochs=_epochs(spec, rows, answers),
        max_steps=_max_steps(spec),
        half_precision=resolved.precision != "fp32",
        generation=generation,
        eval_rows=eval_rows,
        eval_every=None if spec.eval_strategy == "epoch" else float(spec.eval_steps or spec.logging_steps),
        eval_first=bool(spec.eval_on_start),
        eval_batch_size=spec.per_device_eval_batch_size,
        save_every={"no": 0.0, "epoch": None}.get(spec.save_strategy, float(spec.save_steps)),
        save_bytes=saved + (0.0 if spec.save_only_model else arithmetic.state_bytes),
        download_bytes=_download_bytes(spec, facts, arithmetic),
        push_bytes=pushed if spec.output.pushes else 0.0,
        prepared_rows=0.0 if spec.dataset.streaming else (total or 0.0),
        processes=int(values.get("dataset_num_proc") or 1),
        vllm=uses_vllm(spec),
        assumed=tuple(dict.fromkeys(assumed)),
    )


def _max_steps(spec: TrainSpec) -> int | None:
    return spec.max_steps if spec.max_steps > 0 else None


def _epochs(spec: TrainSpec, rows: float | None, answers: Answers | None) -> float:
    """Passes over the rows; the spec may count the answers instead."""
    total = answers.total if answers else None
    return total / rows if total and rows else float(spec.num_train_epochs)


def _rows(dataset: Dataset, facts: Facts) -> float | None:
    """Rows that are trained on, before some are held out."""
    count, taken = facts.dataset.num_rows, dataset.num_samples
    if dataset.mixed_with:
        # of a mixture, the rows that are taken are known
        return count
    return count if taken is None else taken if count is None else min(count, taken)


def _eval_rows(spec: TrainSpec, facts: Facts, held: float, assumed: list[str]) -> float | None:
    if spec.eval_strategy == "no" and not spec.eval_on_start:
        return 0.0
    if spec.eval_dataset is None:
        return held
    known = facts.eval_dataset.num_rows if facts.eval_dataset is not None else None
    taken = spec.eval_dataset.num_samples
    if known is None and taken is None:
        assumed.append("no time for evaluation: the rows of eval_dataset are not known")
        return None
    return float(min(size for size in (known, taken) if size is not None))


def _with_others(
    spec: TrainSpec, facts: Facts, resolved: Resolved, arithmetic: Arithmetic, assumed: list[str]
) -> Arithmetic:
    """Add the forward passes of a teacher, a reward and a value model; unknown ones count as large as the model."""
    width = BYTES.get(resolved.frozen_dtype, 2.0)
    for side, model in side_models(spec, facts):
        shape, passes = shape_of(model) if model is not None else None, side.passes
        if shape is None or model is None:
            assumed.append(f"a {side.role} of the model's size")
            model, shape = facts.model, shape_of(facts.model)
        if shape is None:
            continue
        head = float(shape.embedding) if side.head else 0.0
        arithmetic = replace(
            arithmetic,
            other_body=arithmetic.other_body + passes * (active_body(model, shape) + head),
            other_attention=arithmetic.other_attention + passes * shape.layers * shape.query,
            other_bytes=arithmetic.other_bytes + width * shape.parameters,
            other_layers=arithmetic.other_layers + passes * shape.layers,
        )
    return arithmetic


def _lengths(
    spec: TrainSpec,
    facts: Facts,
    values: dict[str, Any],
    resolved: Resolved,
    answers: Answers | None,
    assumed: list[str],
) -> tuple[RowLengths, Generation | None]:
    """Tokens of a sequence, and what is generated of it."""
    known = facts.dataset.lengths
    limit = resolved.arguments.get("max_length", values.get("max_length"))
    if answers is None:
        # rows that packing splits lose nothing
        splits = values.get("packing") and values.get("packing_strategy") != "bfd"
        lengths = row_lengths(known, None if splits else limit, limit or UNBOUNDED_TOKENS)
        if lengths.assumed:
            assumed.append(lengths.assumed)
        return lengths, None
    most = float(answers.most or UNBOUNDED_TOKENS)
    prompts = row_lengths(prompt_lengths(known), None, PROMPT_TOKENS)
    if prompts.assumed:
        assumed.append(prompts.assumed.replace("rows", "prompts", 1))
    answer = ANSWER_SHARE * most
    assumed.append(f"answers of {ANSWER_SHARE.expected:.0%} of {answers.bound}={most:,.0f} tokens")
    if answers.assumed:
        assumed.append(answers.assumed)
    whole = RowLengths(prompts.mean + answer, prompts.spread, None)
    generation = Generation(
        answers=answers.per_example * answers.share,
        prompt=prompts.mean,
        answer=answer,
        most=most,
        vllm=uses_vllm(spec),
        steps_together=answers.batches,
    )
    return whole, generation


def _download_bytes(spec: TrainSpec, facts: Facts, arithmetic: Arithmetic) -> float:
    """Bytes of the models as they lie on the Hub; half precision where their files do not say."""
    total = arithmetic.parameters * BYTES.get(facts.model.dtype or "", 2.0) if facts.model.path is None else 0.0
    return total + arithmetic.other_bytes
