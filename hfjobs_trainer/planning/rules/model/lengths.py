"""Rules about the longest sequence of a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.architectures import POSITIONS_IN_A_TABLE
from hfjobs_trainer.planning.rendered import longest_of_rows, rendered
from hfjobs_trainer.planning.rules.model.loaded import need_look, the_model
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change


@dataclass(frozen=True, slots=True)
class Longest:
    """What makes a sequence of a run longest.

    Attributes:
        path: The argument that bounds it.
        tokens: How long it gets.
        shorter: Value of the argument that fits; ``None`` if there is none.
    """

    path: str
    tokens: int
    shorter: int | None


def reach(context: Context[TrainSpec]) -> int | None:
    """Tokens of the longest sequence of the model, stretched as its configuration says; ``None`` without a limit."""
    model = context.facts.model
    most = model.max_position_embeddings
    return round(most * (model.rope_factor or 1.0)) if most else None


def longest_sequence(context: Context[TrainSpec], most: int) -> Longest | None:
    """What exceeds ``most`` tokens, by the arguments and by what is known of the rows; ``None`` if nothing does."""
    spec, lengths = context.spec, context.facts.dataset.lengths
    counted = lengths if lengths is not None and lengths.unit == "tokens" else None
    declared = type(spec).TRAINING.answers
    answers = declared(spec) if declared else None
    if answers is not None and answers.most is not None and not answers.within_max_length:
        prompt = int(counted.p99) if counted is not None else 0
        fits = most - prompt
        total = answers.most + prompt
        return Longest(answers.bound, total, fits if fits > 0 else None) if total > most else None
    limit = context.field("max_length", int)
    if limit is None or limit <= most:
        return None
    packs = bool(context.field("packing", bool))
    # a template may add more than was counted, such as a system prompt of its own
    known = rendered(spec, context.facts)
    longest = max(longest_of_rows(known), default=0) if known else 0
    if counted is not None and max(counted.maximum, longest) <= most and not packs:
        return None
    if counted is None and "max_length" not in spec.model_fields_set and not packs:
        # the default bounds rows that may all be short
        return None
    return Longest("max_length", limit, most)


@rule("MODEL010")
def rows_fit_the_table_of_positions(context: Context[TrainSpec]) -> Iterator[Found]:
    """No sequence is longer than the model's table of positions.

    What it does:
        Refuses a `max_length`, or a prompt and its answer, above `max_position_embeddings` of models that look up
        positions (GPT-2, OPT, GPT-J and their like). Rows that were counted and are all shorter pass.

    Why:
        There is no entry for a later position: `IndexError` on a CPU, a device-side assert on a GPU, at the first row
        that is too long.

    Example:
        ```python
        hft.SFT(model="openai-community/gpt2", dataset=..., max_length=2048)
        ```

    Use instead:
        ```python
        hft.SFT(model="openai-community/gpt2", dataset=..., max_length=1024)
        ```
    """
    if _looks_up(context):
        yield from _too_long(context, "which has a position for each of {most} tokens and none beyond")


@rule("MODEL011", severity="warning")
def rows_fit_the_context(context: Context[TrainSpec]) -> Iterator[Found]:
    """No sequence is longer than those that the model knows.

    What it does:
        Warns of a `max_length`, or a prompt and its answer, above `max_position_embeddings`, times the factor of
        `rope_scaling` where there is one. Rows that were counted and are all shorter pass.

    Why:
        A model with rotary positions runs on, but has never seen such positions: what it writes there is worse, and it
        takes much training to change that. Other programs, vLLM among them, refuse longer sequences.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., max_length=65536)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., max_length=32768)
        ```
    """
    if not _looks_up(context):
        yield from _too_long(context, "which knows sequences of up to {most} tokens{stretched}")


def _looks_up(context: Context[TrainSpec]) -> bool:
    return context.facts.model.model_type in POSITIONS_IN_A_TABLE


def _too_long(context: Context[TrainSpec], known: str) -> Iterator[Found]:
    spec, model = context.spec, context.facts.model
    if _bounds_nothing(context):
        return
    need_look(the_model(context))
    most = reach(context)
    if most is None:
        return
    found = longest_sequence(context, most)
    if found is not None:
        stretched = f" (with {model.rope_type} scaling)" if model.rope_type else ""
        why = f"sequences of up to {found.tokens} tokens are too long for {spec.model}"
        fix = change(spec, {found.path: found.shorter}) if found.shorter else ""
        yield Found(found.path, f"{why}, {known.format(most=most, stretched=stretched)}", fix)


def _bounds_nothing(context: Context[TrainSpec]) -> bool:
    """Whether neither the spec nor the rows say anything of a length."""
    lengths = context.facts.dataset.lengths
    answers = type(context.spec).TRAINING.answers
    return lengths is None and answers is None and "max_length" not in context.spec.model_fields_set


@rule("MODEL012", fields=["use_vllm"])
def vllm_s_context_is_the_model_s(context: Context[TrainSpec]) -> Iterator[Found]:
    """The context of vLLM is within the model's.

    What it does:
        Refuses a `vllm_max_model_length` above `max_position_embeddings`, times the factor of `rope_scaling` where
        there is one.

    Why:
        vLLM refuses to start: "User-specified max_model_len is greater than the derived max_model_len".

    Example:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=..., reward_funcs=..., use_vllm=True,
                 vllm_max_model_length=65536)
        ```

    Use instead:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=..., reward_funcs=..., use_vllm=True,
                 vllm_max_model_length=32768)
        ```
    """
    name = "vllm_max_model_length"
    wanted = context.field(name, int)
    if wanted is None or context.run.vllm is None:
        return
    need_look(the_model(context))
    most = reach(context)
    if most is not None and wanted > most:
        why = f"a context of {wanted} tokens is more than the {most} of {context.spec.model}"
        yield Found(name, why, change(context.spec, {name: most}))
