"""Reads batches of one row, as each trainer's own collator gives them: what is in them says what they are.

This file lies beside the script of a preview, and imports nothing of this package.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

IGNORED = -100


class Part(NamedTuple):
    """A sequence of tokens of a row."""

    name: str
    ids: list[int]
    trained: list[bool]


class Row(NamedTuple):
    """What a row gives."""

    parts: list[Part]
    label: bool | None = None


class Captured(Exception):
    """The token ids that a trainer is about to use."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__()
        self.ids = ids


def row_of(trainer: Any, batch: Any) -> Row:
    """The sequences in a batch of one row, by what the batch has."""
    if isinstance(batch, list) or not any(name.endswith("input_ids") for name in batch):
        ids = prompt_ids(trainer, batch)
        return Row([Part("prompt", ids, [False] * len(ids))])
    if "chosen_input_ids" in batch:
        return Row([labelled(batch, 0, f"{side}_", side) for side in ("chosen", "rejected")])
    if len(batch["input_ids"]) == 2:
        return Row([labelled(batch, number, "", side) for number, side in enumerate(("chosen", "rejected"))])
    if "label" in batch:
        label = bool(batch["label"][0])
        return Row([labelled(batch, 0, "", "completion")], label)
    trains = "labels" in batch or "completion_mask" in batch
    part = labelled(batch, 0, "", "text" if trains else "prompt")
    return Row([part if trains else part._replace(trained=[False] * len(part.ids))])


def labelled(batch: Any, number: int, prefix: str, name: str) -> Part:
    """One sequence of a batch, without padding."""
    ids = numbers(batch[f"{prefix}input_ids"][number])
    real = [True] * len(ids)
    if f"{prefix}attention_mask" in batch:
        real = [value != 0 for value in numbers(batch[f"{prefix}attention_mask"][number])]
    trained = [True] * len(ids)
    if f"{prefix}labels" in batch:
        trained = [value != IGNORED for value in numbers(batch[f"{prefix}labels"][number])]
    elif f"{prefix}completion_mask" in batch:
        trained = [value != 0 for value in numbers(batch[f"{prefix}completion_mask"][number])]
    kept = [index for index, there in enumerate(real) if there]
    return Part(name, [ids[index] for index in kept], [trained[index] for index in kept])


def prompt_ids(trainer: Any, batch: Any) -> list[int]:
    """The tokens of a prompt that a trainer would have answered, from its own step up to the answer."""
    if hasattr(trainer, "_tokenize_prompts"):
        tokenize = trainer._tokenize_prompts

        def capture(prompts: Any) -> Any:
            raise Captured(tokenize(prompts)[0][0])

        trainer._tokenize_prompts = capture
        step, arguments = trainer._generate_and_score_completions, (batch,)
    else:
        trainer.processing_class = Recorder(getattr(trainer.processing_class, "recorded", trainer.processing_class))
        step, arguments = trainer.training_step, (trainer.model, batch)
    try:
        step(*arguments)
    except Captured as captured:
        return numbers(captured.ids)
    finally:
        trainer.__dict__.pop("_tokenize_prompts", None)
    raise RuntimeError("the trainer answered a prompt without tokenizing it")


class Recorder:
    """A tokenizer or processor whose first call ends the step that makes it."""

    def __init__(self, recorded: Any) -> None:
        self.recorded = recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recorded, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Tokenize, and end the step."""
        tokens = self.recorded(*arguments, **options)
        kept = zip(numbers(tokens["input_ids"][0]), numbers(tokens["attention_mask"][0]), strict=True)
        raise Captured([token for token, there in kept if there])


def numbers(values: Any) -> list[int]:
    """A list of numbers, of a tensor too."""
    return [int(value) for value in (values.tolist() if hasattr(values, "tolist") else values)]


def write(tokenizer: Any, part: Part) -> dict[str, Any]:
    """The text of a sequence, exactly as its tokens decode, and where in it those begin and end that are trained."""

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    text = decode(part.ids)
    spans: list[list[int]] = []
    place = 0
    for is_trained, group in itertools.groupby(range(len(part.ids)), key=lambda index: part.trained[index]):
        before, place = place, common(decode(part.ids[: max(group) + 1]), text)
        if is_trained:
            spans.append([before, place])
    return {"text": text, "spans": spans}


def common(start: str, text: str) -> int:
    """How many characters a text has in common with what its first tokens alone decode to: half a character is none."""
    return next(
        (index for index, (a, b) in enumerate(zip(start, text, strict=False)) if a != b), min(len(start), len(text))
    )


def order_of(trainer: Any, count: int) -> list[int]:
    """The order in which the trainer would draw its rows."""
    try:
        drawn = [index for index in trainer._get_train_sampler(trainer.train_dataset) if index < count]
        return drawn if sorted(drawn) == list(range(count)) else list(range(count))
    except Exception:
        return list(range(count))


def align(rows: list[Row], whole: list[Row]) -> list[int | None]:
    """For each row the number of the uncut one that it is of: the others were dropped, and the order is the same."""
    if len(rows) == len(whole):
        return list(range(len(rows)))
    later: Iterable[int] = iter(range(len(whole)))
    return [next((index for index in later if is_of(row, whole[index])), None) for row in rows]


def cut_packs(rows: list[Row], whole: list[Row], limit: int) -> list[bool]:
    """Which packs are a row that was cut: it is longer than a pack, which then has nothing else."""
    packed, tokens = (sum(len(row.parts[0].ids) for row in each) for each in (rows, whole))
    long = [row.parts[0].ids for row in whole if len(row.parts[0].ids) > limit]
    # where no token is lost, long rows go on in the next pack
    starts = {tuple(ids[:limit]) for ids in long} if packed < tokens else set[tuple[int, ...]]()
    return [tuple(row.parts[0].ids) in starts for row in rows]


def is_of(row: Row, whole: Row) -> bool:
    """Whether each sequence of a row is the beginning or the end of that of another."""
    for part, uncut in zip(row.parts, whole.parts, strict=True):
        count = len(part.ids)
        if part.ids not in (uncut.ids[:count], uncut.ids[len(uncut.ids) - count :]):
            return False
    return True
