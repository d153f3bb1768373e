"""What the model will see: rows as the trainer of a run prepares them, and totals over a sample of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.planning.rules.model.loaded import trusts
from hfjobs_trainer.trying.run import Limits, TrialError, try_plan

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.specs.base import TrainSpec

SAMPLE, IMAGE_SAMPLE = 512, 32
"""Rows that are read: the first of the dataset, in its order; fewer of those with images."""
SECONDS = 300.0
"""How long a preview may take, seconds; the making of an environment is not counted."""
BINS = 8
"""Bars of the histogram."""
# Packages that only training needs: the mode takes their place.
UNNEEDED = (
    *("bitsandbytes", "deepspeed", "kernels", "liger-kernel", "mlflow", "tensorboard", "torchao", "trackio"),
    *("vllm", "wandb"),
)


@dataclass(frozen=True, slots=True)
class PreviewPart:
    """A sequence of tokens that the model is given.

    Attributes:
        name: ``"text"``; ``"chosen"`` or ``"rejected"`` of a pair; ``"completion"`` of a rated answer, with its prompt;
            ``"prompt"`` where the model writes the rest itself.
        text: Exactly what the tokens decode to, special tokens included.
        token_ids: The tokens, without padding.
        trained: For each token whether the loss counts it.
        spans: Where in the text the trained parts begin and end, in characters.
        whole_tokens: Tokens of the sequence before it was cut.
        truncated: Whether it was cut.
    """

    name: str
    text: str = field(repr=False)
    token_ids: tuple[int, ...] = field(repr=False)
    trained: tuple[bool, ...] = field(repr=False)
    spans: tuple[tuple[int, int], ...] = field(repr=False)
    whole_tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row as the trainer's own collator gives it alone.

    Attributes:
        parts: Its sequences: one, or both sides of a pair, the chosen one first. With packing, a row is what was packed
            into one sequence.
        label: Of a rated answer, whether it is a good one.
    """

    parts: tuple[PreviewPart, ...]
    label: bool | None = None

    @property
    def text(self) -> str:
        """The text of its sequences, one behind the other."""
        return "".join(part.text for part in self.parts)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens of its sequences, one behind the other: of a pair the chosen side, then the rejected one."""
        return tuple(token for part in self.parts for token in part.token_ids)

    @property
    def trained(self) -> tuple[bool, ...]:
        """For each of ``token_ids`` whether the loss counts it."""
        return tuple(trained for part in self.parts for trained in part.trained)

    @property
    def truncated(self) -> bool:
        """Whether one of its sequences was cut."""
        return any(part.truncated for part in self.parts)

    @property
    def chosen(self) -> PreviewPart | None:
        """The chosen side of a pair."""
        return self._named("chosen")

    @property
    def rejected(self) -> PreviewPart | None:
        """The rejected side of a pair."""
        return self._named("rejected")

    def _named(self, name: str) -> PreviewPart | None:
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True, slots=True)
class Bar:
    """Rows of similar lengths.

    Attributes:
        first: The fewest tokens.
        last: The most tokens.
        rows: How many rows have so many.
    """

    first: int
    last: int
    rows: int


@dataclass(frozen=True, slots=True)
class PreviewTotals:
    """Totals over the sample.

    Attributes:
        rows: Rows that are trained on; with packing, packed ones.
        source_rows: Rows before any was dropped or packed.
        tokens: Tokens of the rows, without padding; of a pair those of both sides.
        trained_tokens: Those that the loss counts; 0 where the model writes what is trained on.
        truncated_rows: Rows that were cut.
        dropped_rows: Rows that the trainer left out: Reward those that are longer than ``max_length``, SFT, DPO and KTO
            those of which it leaves nothing to train on.
        untrained_rows: Rows with a sequence of which no token is trained, whether the trainer keeps them or left them
            out for it; prompts for the model's own answers do not count.
        cut_tokens: Tokens that were cut off or dropped with their rows.
        histogram: Rows by their tokens.
        batch_size: Rows per batch and GPU, as planned.
        padding: Share of a batch that is padding, at this size and in the trainer's order; ``None`` where the trainer
            generates its batches.
        packing: Share of ``max_length`` that stays empty with packing; ``None`` where the trainer does not pack.
    """

    rows: int
    source_rows: int
    tokens: int
    trained_tokens: int
    truncated_rows: int
    dropped_rows: int
    untrained_rows: int
    cut_tokens: int
    histogram: tuple[Bar, ...]
    batch_size: int
    padding: float | None
    packing: float | None

    @property
    def cut_tokens_share(self) -> float:
        """Share of the tokens that were cut off or dropped, 0 to 1."""
        return self.cut_tokens / max(1, self.tokens + self.cut_tokens)


@dataclass(frozen=True, slots=True)
class Preview:
    """What the model will see; printed, or a notebook cell's last value, it is shown with what is trained marked.

    Attributes:
        rows: The first rows of the trainer's ``train_dataset``, in its order.
        totals: Totals over the sample.
        method: Name of the method, as people write it.
        max_length: The trainer's limit, tokens; ``None`` for none.
        packed: Whether rows are packed.
        generates: Whether the model writes what is trained on, so that only prompts are shown.
        seconds: How long it took.
    """

    rows: tuple[PreviewRow, ...]
    totals: PreviewTotals
    method: str
    max_length: int | None
    packed: bool
    generates: bool
    seconds: float = field(compare=False)

    def __repr__(self) -> str:
        from hfjobs_trainer.trying.show import headline

        return f"<Preview: {headline(self)}>"

    def __str__(self) -> str:
        from hfjobs_trainer.trying.show import show

        return show(self)

    def _repr_html_(self) -> str:
        from hfjobs_trainer.trying.show import show_html

        return show_html(self)


def preview_plan(
    plan: Plan,
    *,
    rows: int = 5,
    facts: Facts | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool = False,
    limits: Limits | None = None,
) -> Preview:
    """Run a plan's script up to its trainer, and read what that has made of the first rows.

    Args:
        plan: The plan of a spec that trains.
        rows: Rows to show.
        facts: Facts about the models and datasets, which tell whether a token is needed.
        token: Hub token, used only where one is private or gated.
        endpoint: URL of the Hub.
        offline: Do not contact the Hub.
        limits: What the process may take; default: 300 seconds and 12 GiB.

    Raises:
        TrialError: The script ended with an error.
        HFTError: There is no interpreter for it.
    """
    tried = try_plan(
        plan,
        "preview",
        preview_settings(plan, rows, facts),
        facts=facts,
        limits=limits or Limits(seconds=SECONDS),
        without=UNNEEDED,
        token=token,
        endpoint=endpoint,
        offline=offline,
    )
    if tried.result is None or tried.exit_code:
        raise TrialError(tried.explain("the preview"))
    return read_preview(tried.result, plan, tried.seconds)


def preview_settings(plan: Plan, rows: int, facts: Facts | None = None) -> dict[str, Any]:
    """What the mode is told."""
    spec = cast("TrainSpec", plan.spec)
    method = spec.METHOD
    commit = plan.revisions.get("model_revision", spec.model_revision)
    has_images = facts is not None and bool({"image", "images"} & {*(facts.dataset.columns or ())})
    return {
        "module": method.module,
        "trainer": method.trainer,
        "config": method.config,
        "rows": rows,
        "sample": max(rows, IMAGE_SAMPLE if has_images else SAMPLE),
        "model": {"revision": commit, "trust_remote_code": trusts(spec)},
    }


def read_preview(found: Mapping[str, Any], plan: Plan, seconds: float) -> Preview:
    """The preview that a mode's result describes."""
    whole: list[list[int]] = found["whole"]
    packed: bool = found["packed"]
    kept: list[list[int]] = found["lengths"]
    pairs: list[int | None] = found["pairs"]
    sources = [None if number is None else whole[number] for number in pairs]
    packs: list[bool] = found.get("cut_packs", [])
    rows: list[PreviewRow] = []
    for index, row in enumerate(found["rows"]):
        lengths = sources[index] or kept[index]
        parts = [
            PreviewPart(
                name=part["name"],
                text=part["text"],
                token_ids=tuple(part["ids"]),
                trained=tuple(part["trained"]),
                spans=tuple((first, last) for first, last in part["spans"]),
                whole_tokens=length,
                truncated=packs[index] if packed else length > len(part["ids"]),
            )
            for part, length in zip(row["parts"], lengths, strict=True)
        ]
        rows.append(PreviewRow(tuple(parts), row["label"]))
    generates = bool(rows) and all(part.name == "prompt" for row in rows for part in row.parts)
    cut = packs if packed else [(source or row) != row for source, row in zip(sources, kept, strict=True)]
    totals = _totals(found, whole, kept, sum(cut), generates)
    return Preview(
        tuple(rows), totals, cast("TrainSpec", plan.spec).METHOD.label, found["max_length"], packed, generates, seconds
    )


def _totals(
    found: Mapping[str, Any], whole: list[list[int]], kept: list[list[int]], truncated: int, generates: bool
) -> PreviewTotals:
    packed: bool = found["packed"]
    sizes = [sum(row) for row in kept]
    tokens = sum(sizes)
    trained: list[list[int]] = found["trained"]
    flat = packed or found["padding_free"]
    limit: int | None = found["max_length"]
    packing = None
    if found["packs"] and limit and kept:
        packing = 1 - tokens / (len(kept) * limit) if packed else packing_waste([row[0] for row in kept], limit)
    padding = (
        None if generates else 0.0 if flat else padding_share(kept, found["order"], found["batch"], found["multiple"])
    )
    return PreviewTotals(
        rows=len(kept),
        source_rows=found["source_rows"],
        tokens=tokens,
        trained_tokens=sum(map(sum, trained)),
        truncated_rows=truncated,
        dropped_rows=found["source_rows"] - (len(whole) if packed else len(kept)),
        untrained_rows=0 if generates else found["untrained_dropped"] + sum(not all(row) for row in trained),
        cut_tokens=max(0, sum(map(sum, whole)) - tokens),
        histogram=histogram(sizes),
        batch_size=found["batch"],
        padding=padding,
        packing=packing,
    )


def histogram(sizes: Sequence[int]) -> tuple[Bar, ...]:
    """Rows by their tokens, in at most ``BINS`` bars of equal width."""
    if not sizes:
        return ()
    first, last = min(sizes), max(sizes)
    width = max(1, -(-(last - first + 1) // BINS))
    starts = range(first, last + 1, width)
    return tuple(
        Bar(start, min(last, start + width - 1), sum(start <= size < start + width for size in sizes))
        for start in starts
    )


def padding_share(rows: Sequence[Sequence[int]], order: Sequence[int], batch: int, multiple: int | None) -> float:
    """Share of the batches that is padding, each being as long as its longest sequence.

    Args:
        rows: Lengths of the sequences of each row, tokens.
        order: In which they are drawn.
        batch: Rows per batch.
        multiple: Lengths of batches are a multiple of it.
    """
    used = room = 0
    for start in range(0, len(order), max(1, batch)):
        lengths = [length for index in order[start : start + max(1, batch)] for length in rows[index]]
        longest = -(-max(lengths) // (multiple or 1)) * (multiple or 1)
        used, room = used + sum(lengths), room + longest * len(lengths)
    return 1 - used / room if room else 0.0


def packing_waste(lengths: Sequence[int], limit: int) -> float | None:
    """Share of ``limit`` that stays empty where rows are packed, the longest first and each where it fits best.

    The emptiest pack is not counted, since a sample ends anywhere; ``None`` if there is no other.
    """
    rooms: list[int] = []
    for length in sorted((min(length, limit) for length in lengths), reverse=True):
        fitting = [index for index, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting, key=rooms.__getitem__)] -= length
        else:
            rooms.append(limit - length)
    full = sorted(rooms)[:-1]
    return sum(full) / (limit * len(full)) if full else None
