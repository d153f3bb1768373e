"""The spec that every training method extends: what the user wants, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.args_base import Deferred, as_whole
from hfjobs_trainer.specs.durations import parse_duration
from hfjobs_trainer.specs.group import Group
from hfjobs_trainer.specs.groups import Dataset, Hardware, LoRA, Output, Quantization, Tracking
from hfjobs_trainer.specs.locations import revision_of
from hfjobs_trainer.specs.notes import Note
from hfjobs_trainer.specs.registry import Method
from hfjobs_trainer.specs.rows import TableField, is_rows
from hfjobs_trainer.specs.training import Training
from hfjobs_trainer.specs.trl_args.common import CommonArgs
from hfjobs_trainer.specs.unparsed import Unparsed
from hfjobs_trainer.tokens import masked, name_of_secret, names_a_secret

DType = Literal["auto", "bfloat16", "float16", "float32"]


def _seconds(value: Any) -> Any:
    return (
        parse_duration(value)
        if isinstance(value, int | float | str | timedelta) and not isinstance(value, bool)
        else value
    )


def _shorthand(group: type[Group]) -> BeforeValidator:
    def expand(value: Any) -> Any:
        if isinstance(value, str) and group.SHORTHAND:
            return {group.SHORTHAND: value}
        return value

    accepted = group | Mapping[str, Any] | str if group.SHORTHAND else group | Mapping[str, Any]
    return BeforeValidator(expand, json_schema_input_type=accepted)


def _mixture(value: Any) -> Any:
    """The first of a list, with the others in its ``mixed_with``; so a mixture has one normal form."""
    if isinstance(value, str) or is_rows(value, Dataset.model_fields):
        return {"id": value}
    if not isinstance(value, list | tuple):
        return value
    given = cast("list[Any]", value)
    items: list[Any] = [{"id": item} if isinstance(item, str) or _is_part(item) else item for item in given]
    wrong = next((index for index, item in enumerate(items) if not isinstance(item, Dataset | Mapping)), None)
    if wrong is not None or not items:
        raise ValueError(f"item {wrong} of the list is not a dataset" if items else "has neither rows nor datasets")
    first, *others = items
    if not others:
        return first
    if isinstance(first, Dataset):
        first = first.model_dump(exclude_unset=True)
    return {**first, "mixed_with": others}


def _is_part(item: Any) -> bool:
    """Whether an item of a mixture is rows."""
    return not isinstance(item, Dataset) and is_rows(item, Dataset.model_fields)


MOST_ITEMS = 500
"""Of each of what a job is given by name, such as variables and packages: far more than any run has."""
Seconds = Annotated[int, BeforeValidator(_seconds, json_schema_input_type=int | float | str | timedelta)]


_DatasetLike = Dataset | Mapping[str, Any] | str | TableField
DatasetField = Annotated[
    Dataset,
    BeforeValidator(
        _mixture, json_schema_input_type=_DatasetLike | Sequence[_DatasetLike | Sequence[Mapping[str, Any]]]
    ),
]
HardwareField = Annotated[Hardware, _shorthand(Hardware)]
TrackingField = Annotated[Tracking, _shorthand(Tracking)]
OutputField = Annotated[Output, _shorthand(Output)]
QuantizationField = Annotated[Quantization, _shorthand(Quantization)]
LoRAField = Annotated[LoRA, _shorthand(LoRA)]


def _held_out(value: float) -> float:
    """A share below 1, or a number of rows."""
    if 1 <= value < 2 or not math.isfinite(value) or value != int(value) > 0:
        raise ValueError("must be a share below 1, or a number of rows from 2 on")
    return as_whole(value)


HeldOut = Annotated[int | float, AfterValidator(_held_out)]


def digest_of(fields: Mapping[str, Any]) -> str:
    """SHA-256 of a spec in normal form, as ``to_dict`` has it, hexadecimal."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class JobSpec(Deferred):
    """The fields of every run: machine, timeout, tracker, environment."""

    METHOD: ClassVar[Method]
    FOLDED: ClassVar[dict[str, Any]] = {}

    # model_construct: a group that is called would be built, once here and once more within the spec
    hardware: HardwareField = Field(
        default=Hardware.model_construct(), description="Flavor of HF Jobs, or hft.Hardware."
    )
    timeout: Seconds | None = Field(
        default=None, description='How long the run is expected to take: "3h", "90m", seconds, timedelta.'
    )
    timeout_padding: float = Field(default=0.25, ge=0, le=10, description="Share that is added to the timeout.")
    tracking: TrackingField = Field(default=Tracking.model_construct(), description="Where the metrics go.")
    env: dict[str, str] = Field(
        default={},
        max_length=MOST_ITEMS,
        description="Environment variables; everyone who can see the job can read them.",
    )
    secrets: list[str] = Field(
        default=[],
        max_length=MOST_ITEMS,
        description="Names of secrets; their values are read when you submit.",
    )
    image: str | None = Field(default=None, min_length=1, description="Docker image of the job.")
    labels: dict[str, str] = Field(default={}, max_length=MOST_ITEMS, description="Labels of the job.")
    namespace: str | None = Field(default=None, min_length=1, description="User or organization that runs and pays.")
    extra_dependencies: list[str] = Field(
        default=[], max_length=MOST_ITEMS, description="More packages for the script, as pip requirements."
    )

    _notes: tuple[Note, ...] = PrivateAttr(default=())

    def __init__(self, **fields: Any) -> None:
        from hfjobs_trainer.specs.parse import build

        build(self, fields)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What ``hft.load`` read otherwise than it was written; no part of the spec's value."""
        return self._notes

    def with_notes(self, notes: Iterable[Note]) -> Self:
        """This spec, with these notes for its plan to show."""
        self._notes = tuple(notes)
        return self

    def to_dict(self) -> dict[str, Any]:
        """What was set, in normal form and JSON types; ``hft.check`` and ``hft.load`` accept it."""
        return {
            "method": type(self).METHOD.name,
            **self.model_dump(mode="json", exclude_unset=True, exclude={"method"}),
        }

    def to_json(self) -> str:
        """``to_dict`` as indented ASCII JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the normal form, hexadecimal: equal specs have equal digests."""
        return digest_of(self.to_dict())

    def replace(self, **fields: Any) -> Self:
        """A validated copy with these fields changed; ``None`` unsets a field that cannot be ``None``.

        Raises:
            SpecError: As for the constructor.
        """
        from hfjobs_trainer.specs.parse import merged

        kept = (note for note in self._notes if note.path.split(".")[0] not in fields)
        return type(self)(**merged(self, fields)).with_notes(kept)

    @classmethod
    def missing(cls, given: Mapping[str, Any]) -> Iterable[str]:
        """Fields that are required only because others are not given, such as the one of two that must be there."""
        return ()

    def is_set(self, name: str) -> bool:
        """Whether the user set this field, even to its default value."""
        return name in self.model_fields_set

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise Unparsed(name)
            return super().__getattr__(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobSpec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        # pydantic gives frozen classes a hash of all their values, and lists have none
        cls.__hash__ = JobSpec.__hash__

    def __repr__(self) -> str:
        given = self.model_dump(exclude_unset=True, exclude={"method"})
        if self.env:
            given["env"] = {name: "***" if names_a_secret(name, text) else text for name, text in self.env.items()}
        if self.secrets:
            given["secrets"] = [name_of_secret(entry) for entry in self.secrets]
        return masked(f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})")

    __str__ = __repr__


class TrainSpec(JobSpec, CommonArgs):
    """A training run; the arguments of TRL's config are fields too, under TRL's own names.

    A well-typed spec can always be built; ``hft.check`` reports whether it can run.

    Raises:
        SpecError: A field is unknown, missing or of the wrong type; ``.problems`` lists every problem.
    """

    TRAINING: ClassVar[Training]
    FORMER_NAMES: ClassVar[names.Former] = {}
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {}
    FOLDED: ClassVar[dict[str, Any]] = names.FOLDED_TYPES

    model: str = Field(min_length=1, description="Model to train: Hub id or local folder.")
    model_revision: Annotated[str | None, AfterValidator(revision_of)] = Field(
        default=None, min_length=1, description="Branch, tag or commit of the model."
    )
    processing_class: str | None = Field(
        default=None, min_length=1, description="Tokenizer, if not the model's own: Hub id or local folder."
    )
    processing_class_revision: Annotated[str | None, AfterValidator(revision_of)] = Field(
        default=None, min_length=1, description="Branch, tag or commit of that tokenizer."
    )
    dtype: DType | None = Field(default=None, description="dtype of the loaded weights; unset: the planner decides.")
    attn_implementation: str | None = Field(
        default=None, description='Attention implementation; unset: transformers\' default, "sdpa".'
    )
    chat_template: str | None = Field(
        default=None, min_length=1, description="Jinja text of a chat template, in place of the tokenizer's own."
    )
    dataset: DatasetField = Field(description="Training dataset: Hub id, local file or folder, rows, or hft.Dataset.")
    eval_dataset: DatasetField | None = Field(default=None, description="Evaluation dataset.")
    eval_fraction: HeldOut | None = Field(
        default=None,
        gt=0,
        description="Share of the training dataset that is held out for evaluation; from 2 on, the number of its rows.",
    )
    lora: LoRAField | None = Field(default=None, description="Train a LoRA adapter instead of all weights.")
    quantization: QuantizationField | None = Field(
        default=None, description='Load the weights under the adapter in "4bit" or "8bit", or hft.Quantization.'
    )
    global_batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Sequences per optimizer step over all GPUs; sets batch and accumulation.",
    )
    output: OutputField = Field(default=Output.model_construct(), description="Where the model goes.")

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)

    @classmethod
    def from_config(
        cls,
        config: Any,
        *,
        model: str,
        dataset: Any,
        peft_config: Any = None,
        quantization_config: Any = None,
        **fields: Any,
    ) -> Self:
        """A spec from TRL's own config, such as ``hft.SFT.from_config(trl.SFTConfig(...), model=..., dataset=...)``.

        Only what differs from TRL's defaults is taken, and nothing that the config computed itself.

        Args:
            config: An instance of this method's config class.
            model: As in the spec.
            dataset: As in the spec.
            peft_config: A ``peft.LoraConfig``, which becomes ``lora``.
            quantization_config: A ``BitsAndBytesConfig``, which becomes ``quantization``.
            **fields: More fields of the spec, which win over the config.

        Raises:
            SpecError: As for the constructor, or an object is not what this method takes.
        """
        from hfjobs_trainer.specs.from_config import fields_of

        given = fields_of(cls, config, peft_config, quantization_config)
        return cls(**{**given, "model": model, "dataset": dataset, **fields})

    def trl_arguments(self) -> dict[str, Any]:
        """The arguments of TRL's config that the user set, in the order of TRL's table."""
        known = type(self).METHOD.trl_argument_names(type(self))
        given = self.model_dump(mode="json", exclude_unset=True, include=set(known))
        return {name: value for name, value in given.items() if name in known}

    @abstractmethod
    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """The sets of columns that the dataset may have, the most usual first; it needs one of them."""

    def taken_columns(self, columns: Sequence[str], *, conversational: bool) -> Mapping[str, str]:
        """Columns that a dataset must not have, since the trainer uses their names itself: what it does with them.

        Args:
            columns: The columns of the dataset.
            conversational: Whether its rows hold messages.
        """
        return {}

    @property
    def tokenizer_source(self) -> tuple[str, str | None]:
        """Where the tokenizer comes from, Hub id or local folder, and its revision."""
        if self.processing_class is not None:
            return self.processing_class, self.processing_class_revision
        return self.model, self.model_revision

    @property
    def needs_eval_dataset(self) -> str | None:
        """The setting that requires an evaluation set, as ``name=value``, or ``None``."""
        if self.eval_strategy != "no":
            return f'eval_strategy="{self.eval_strategy}"'
        if self.eval_on_start:
            return "eval_on_start=True"
        return "load_best_model_at_end=True" if self.load_best_model_at_end else None

    def held_out(self, rows: float) -> int:
        """How many of these rows ``eval_fraction`` holds out for evaluation."""
        share = self.eval_fraction or 0
        return math.ceil(rows * share) if share < 1 else int(share)

    @property
    def evaluates(self) -> bool:
        """Whether the spec names an evaluation set."""
        return self.eval_dataset is not None or self.eval_fraction is not None
