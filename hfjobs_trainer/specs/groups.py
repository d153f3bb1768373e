"""The groups of a spec: the dataset, the adapter, the machine, the tracker and where the model goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hfjobs_trainer.specs.args_base import as_list
from hfjobs_trainer.specs.group import Group
from hfjobs_trainer.specs.locations import hub_address, revision_of
from hfjobs_trainer.specs.rewards import RewardFunction, capture
from hfjobs_trainer.specs.rows import TableField, is_rows, keep_rows

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import DatasetFields

Strategy = Literal["auto", "single", "ddp", "fsdp1", "fsdp2", "zero1", "zero2", "zero3", "user"]
Prefer = Literal["balanced", "cheapest", "fastest"]
HubStrategy = Literal["end", "every_save", "checkpoint", "all_checkpoints"]
Checkpoints = Literal["auto", "bucket", "hub"]
Reporter = Literal["trackio", "wandb", "tensorboard", "mlflow", "none"]
Ports = Annotated[list[int], BeforeValidator(as_list, json_schema_input_type=int | list[int])]


def _from_address(fields: Any, kind: Literal["model", "dataset"], name: str, revision: str) -> Any:
    """The fields with the address of a page of the Hub replaced by what it means; what is given beside it wins."""
    given = dict(cast("Mapping[str, Any]", fields)) if isinstance(fields, Mapping) else {}
    found = hub_address(given[name], kind) if isinstance(given.get(name), str) else None
    if found is None:
        return cast("Any", fields)
    renamed = {{"id": name, "revision": revision}.get(part, part): text for part, text in found.items()}
    return {**renamed, **{key: value for key, value in given.items() if key != name}}


def _kept(value: Any) -> Any:
    return keep_rows(value) if is_rows(value, Dataset.model_fields) else value


def _captured(value: Any) -> Any:
    if not callable(value):
        return value
    try:
        return capture(value)
    except ValueError as error:
        raise ValueError(str(error).replace("reward(completions, **kwargs)", "to_row(row)")) from None


RowMap = Annotated[
    RewardFunction, BeforeValidator(_captured, json_schema_input_type=Callable[..., Any] | Mapping[str, Any])
]
"""A function from row to row, as a spec holds it."""


class Dataset(Group):
    """A dataset on the Hub, a local file or folder of data, or rows that the program holds.

    A file is JSON lines (.jsonl), JSON, CSV, TSV, text, Parquet or Arrow; a folder holds such files, or is what
    ``Dataset.save_to_disk`` wrote. Rows are a list of mappings, a ``datasets.Dataset``, or a frame of pandas or polars:
    they are written into the cache, and the spec names them by their content.
    """

    SHORTHAND: ClassVar[str | None] = "id"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[DatasetFields]) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _of_page(cls, fields: Any) -> Any:
        return _from_address(fields, "dataset", "id", "revision")

    id: Annotated[
        str, BeforeValidator(_kept, json_schema_input_type=str | TableField | Sequence[Mapping[str, Any]])
    ] = Field(min_length=1, description='Hub id such as "trl-lib/Capybara", a local path, or rows.')
    config: str | None = Field(default=None, description="Configuration (subset) of a Hub dataset.")
    split: str = Field(default="train", description='Split, slices included: "train[:10%]".')
    revision: Annotated[str | None, AfterValidator(revision_of)] = Field(
        default=None, description="Branch, tag or commit of a Hub dataset."
    )
    data_dir: str | None = Field(default=None, description="Folder of a Hub dataset to load.")
    data_files: str | list[str] | dict[str, str] | None = Field(
        default=None, description="Files of a Hub dataset to load; patterns are allowed."
    )
    columns: dict[str, str] = Field(default={}, description="Columns to rename, as {old name: new name}.")
    keep_columns: list[str] | None = Field(default=None, description="Drop all columns but these; unset: keep all.")
    map: RowMap | None = Field(
        default=None,
        description="A Python function that is given each row before any column is kept or renamed, and returns a row, "
        "a list of rows, or None to drop it.",
    )
    num_samples: int | None = Field(default=None, ge=1, description="Use only this many rows, the first ones.")
    streaming: bool = Field(default=False, description="Stream the rows; requires max_steps.")
    fraction: float | None = Field(
        default=None, gt=0, description="Share of this dataset in a mixture, relative to the others' shares."
    )
    mixed_with: list[Dataset] = Field(
        default=[], max_length=1_000, description="Datasets to mix with this one; `dataset=[a, b]` is the short form."
    )

    @property
    def parts(self) -> tuple[Dataset, ...]:
        """All datasets of the mixture, this one first."""
        return (self, *self.mixed_with)


class LoRA(Group):
    """A LoRA adapter: the arguments of ``peft.LoraConfig``, with the defaults of TRL's command line.

    Where no target is named, every linear layer but the head is adapted: at the same rank that learns more than the
    attention alone (Thinking Machines, "LoRA Without Regret", 2025; TRL's page of that name), and PEFT's own default
    exists for some types of models only.
    """

    ALIASES: ClassVar[dict[str, str]] = {"alpha": "lora_alpha", "dropout": "lora_dropout", "lora_r": "r"}

    @model_validator(mode="before")
    @classmethod
    def _of_page(cls, fields: Any) -> Any:
        return _from_address(fields, "model", "adapter", "adapter_revision")

    r: int = Field(default=16, ge=1, description="Rank.")
    lora_alpha: int = Field(default=32, ge=1, description="Scale: the update is multiplied by lora_alpha / r.")
    lora_dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout on the adapter's input.")
    target_modules: list[str] | str | None = Field(
        default=None,
        description='Module names, a regular expression, or "all-linear"; unset: every linear layer but the head, '
        "unless target_parameters is given.",
    )
    modules_to_save: list[str] | None = Field(default=None, description="Modules that are trained in full and saved.")
    exclude_modules: list[str] | str | None = Field(
        default=None, description="Modules that get no adapter: names or a regular expression."
    )
    target_parameters: list[str] | None = Field(
        default=None,
        description='Parameters outside linear layers, such as experts: "mlp.experts.gate_up_proj".',
    )
    bias: Literal["none", "all", "lora_only"] = Field(default="none", description="Which biases are trained.")
    use_rslora: bool = Field(default=False, description="Scale by lora_alpha / sqrt(r).")
    use_dora: bool = Field(default=False, description="Use DoRA: train magnitude and direction separately.")
    init_lora_weights: bool | Literal["gaussian", "orthogonal"] = Field(
        default=True, description="Initialization of the adapter; with all but False the model is unchanged at first."
    )
    layers_to_transform: list[int] | int | None = Field(default=None, description="Indices of the layers to adapt.")
    layers_pattern: list[str] | str | None = Field(
        default=None, description="Name of the model's list of layers; only with layers_to_transform."
    )
    rank_pattern: dict[str, int] = Field(
        default={}, description="Ranks that differ from r, by module name or regular expression."
    )
    alpha_pattern: dict[str, int] = Field(
        default={}, description="Alphas that differ from lora_alpha, by module name or regular expression."
    )
    trainable_token_indices: list[int] | dict[str, list[int]] | None = Field(
        default=None, description="Token ids whose embeddings are trained, such as new tokens."
    )
    ensure_weight_tying: bool = Field(default=False, description="Keep tied weights tied in modules_to_save.")
    adapter: str | None = Field(
        default=None, min_length=1, description="Existing adapter to continue training: Hub id or local folder."
    )
    adapter_revision: Annotated[str | None, AfterValidator(revision_of)] = Field(
        default=None, min_length=1, description="Branch, tag or commit of that adapter."
    )
    merge_first: bool = Field(
        default=False, description="Merge `adapter` into the model and train a new adapter on top of it."
    )
    task_type: Literal["CAUSAL_LM", "SEQ_CLS"] | None = Field(
        default=None, exclude=True, description="As for PEFT; may only be that of the method, which sets it by itself."
    )

    @property
    def continues(self) -> bool:
        """Whether training continues an existing adapter, with its own configuration."""
        return self.adapter is not None and not self.merge_first

    @property
    def narrows_layers(self) -> bool:
        """Whether only some layers are adapted, for which PEFT needs ``target_modules`` as a list of names."""
        return self.layers_to_transform is not None or self.layers_pattern is not None


class Quantization(Group):
    """A base model in 4 or 8 bits under an adapter, with bitsandbytes."""

    SHORTHAND: ClassVar[str | None] = "bits"

    bits: Literal["4bit", "8bit"] = Field(description="Size of a weight.")
    quant_type: Literal["nf4", "fp4"] = Field(default="nf4", description="Number format of 4-bit weights.")
    use_double_quant: bool = Field(
        default=False, description="Quantize the scales of 4-bit weights, too: 0.4 bits less per weight."
    )
    compute_dtype: Literal["bfloat16", "float16", "float32"] | None = Field(
        default=None, description="dtype in which 4-bit weights are multiplied; unset: the model's."
    )
    quant_storage: Literal["uint8", "int8", "bfloat16", "float16", "float32", "float64"] | None = Field(
        default=None, description="dtype in which 4-bit weights are stored, packed; unset: uint8."
    )


class Hardware(Group):
    """The machine, and how the run uses its GPUs."""

    SHORTHAND: ClassVar[str | None] = "flavor"

    flavor: str = Field(
        default="auto",
        min_length=1,
        description='Flavor of HF Jobs, or "auto" for the one that `prefer` asks for.',
    )
    prefer: Prefer = Field(
        default="balanced",
        description='Which flavor "auto" takes. "balanced": the fastest of those on which the run costs at most 20% or '
        '$0.25, whichever is more, above the cheapest; "cheapest"; "fastest": the fastest within the caps.',
    )
    strategy: Strategy = Field(
        default="auto",
        description='"single": one GPU; "ddp": a copy on each; "fsdp2", "fsdp1", "zero1", "zero2", "zero3": sharded '
        'over the GPUs; "user": as fsdp or deepspeed says; "auto": a copy on each GPU if it fits, else "fsdp2".',
    )
    num_gpus: int | None = Field(default=None, ge=1, description="GPUs to train on, per machine; unset: all.")
    nodes: int = Field(
        default=1,
        ge=1,
        description="Machines of one flavor that train together, one job each; a vLLM server takes the last.",
    )
    max_usd_per_hour: float | None = Field(
        default=None, gt=0, description="Highest price of one machine, US dollars per hour."
    )
    max_usd: float | None = Field(
        default=None, gt=0, description="Most that the run may cost, US dollars; caps its timeout."
    )
    max_hours: float | None = Field(
        default=None, gt=0, description="Longest that the run may take, hours; caps its timeout."
    )
    attempts: int = Field(
        default=1,
        ge=1,
        description="Most attempts of a job that fails; each goes on at the last checkpoint that was kept, and is paid "
        "for.",
    )
    stop_if_over: bool = Field(
        default=False,
        description="End the run, with a checkpoint, as soon as its pace shows that it will not be done within its "
        "timeout or max_usd; otherwise it says so and goes on.",
    )
    ssh: bool = Field(default=False, description="Let the job be entered by SSH, with a key of the account.")
    expose: Ports = Field(
        default=[], description="Ports of the job that Jobs' proxy leads to: 20 at most, $0.01 per hour."
    )
    resource_group_id: str | None = Field(
        default=None, description="Resource group of the organization in which the job runs: 24 hexadecimal digits."
    )
    fsdp: bool | str | None = Field(default=None, description="As in TRL's config; passed unchanged.")
    fsdp_config: dict[str, Any] | None = Field(default=None, description="As in TRL's config; passed unchanged.")
    deepspeed: dict[str, Any] | None = Field(default=None, description="As in TRL's config; passed unchanged.")
    accelerator_config: dict[str, Any] | None = Field(default=None, description="As in TRL's config; passed unchanged.")


class Tracking(Group):
    """Where the metrics go."""

    project: str | None = Field(
        default=None,
        min_length=1,
        description="Project of trackio or W&B, experiment of MLflow; unset: the model repo's name.",
    )
    name: str | None = Field(default=None, min_length=1, description="Name of the run.")
    group: str | None = Field(default=None, min_length=1, description="Group of runs, such as the trials of a sweep.")
    space_id: str | None = Field(default=None, description="Space of trackio's dashboard; unset: namespace/trackio.")
    bucket_id: str | None = Field(default=None, description="Bucket behind the Space; unset: trackio's default.")
    private: bool = Field(default=True, description="Create the Space as private.")
    report_to: Reporter = Field(
        default="trackio", description='The tracker; of a list, "tensorboard" may stand beside another one.'
    )
    tensorboard: bool = Field(default=False, description="Write TensorBoard's files beside the tracker's, too.")
    config: dict[str, str | int | float | bool] = Field(
        default={}, description="Values of your own in the run's config, to find and group runs by."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, fields: Any) -> Any:
        given = dict(cast("Mapping[str, Any]", fields)) if isinstance(fields, Mapping) else {}
        named = given.get("report_to")
        if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in cast("Any", named)):
            return cast("Any", fields)
        names = list(dict.fromkeys(cast("Sequence[Any]", named))) or ["none"]
        others = [name for name in names if name != "tensorboard"]
        if len(others) > 1:
            return cast("Any", fields)
        beside = {"tensorboard": True} if others and len(names) > 1 else {}
        return {**given, "report_to": others[0] if others else "tensorboard", **beside}

    @field_validator("config")
    @classmethod
    def _own_names(cls, config: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        # trackio keeps names with an underscore to itself; the others are in every run's config
        taken = [name for name in config if name.startswith("_") or name in ("model", "dataset", "script", "sha256")]
        if taken:
            raise PydanticCustomError("taken", "{names} is taken: choose another name", {"names": ", ".join(taken)})
        return config

    @field_validator("report_to", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            names = [str(name) for name in cast("Sequence[Any]", value)]
            raise PydanticCustomError(
                "one_of_several",
                "of {names} only one can be had, with tensorboard beside it",
                {"names": ", ".join(names), "first": next(name for name in names if name != "tensorboard")},
            )
        return value

    @property
    def reporters(self) -> tuple[str, ...]:
        """All trackers, the one that is told of the run first."""
        beside = self.tensorboard and self.report_to not in ("tensorboard", "none")
        return (self.report_to, "tensorboard") if beside else (self.report_to,)


class Output(Group):
    """Where the model goes."""

    push_to_hub: bool | None = Field(default=None, description="Push the model; unset: if hub_model_id is given.")
    hub_model_id: str | None = Field(default=None, description='Repository, "namespace/name".')
    private: bool = Field(default=True, description="Create the repository as private.")
    hub_strategy: HubStrategy | None = Field(
        default=None,
        description='When to push; unset: TRL\'s default, every save. "checkpoint" is kept as checkpoints="hub".',
    )
    checkpoints: Checkpoints | None = Field(
        default="auto",
        description='Where checkpoints are kept beyond the machine. "bucket": in the private bucket hft-checkpoints of '
        'the namespace; "hub": in the model\'s repository; "auto": in the bucket where a job may take more than 15 '
        "minutes; None: nowhere, so that the run cannot be resumed.",
    )
    merge_adapter: bool | Literal["both"] = Field(
        default=False,
        description='Save and push the merged model instead of the adapter; "both": both of them.',
    )

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, fields: Any) -> Any:
        given = dict(cast("Mapping[str, Any]", fields)) if isinstance(fields, Mapping) else {}
        if given.get("hub_strategy") != "checkpoint":
            return cast("Any", fields)
        del given["hub_strategy"]
        if (place := given.setdefault("checkpoints", "hub")) != "hub":
            raise PydanticCustomError(
                "given_twice",
                'hub_strategy="checkpoint" is checkpoints="hub", and {given} is given as well',
                {"given": "checkpoints=None" if place is None else f'checkpoints="{place}"'},
            )
        return given

    @property
    def pushes(self) -> bool:
        """Whether the model is pushed to the Hub."""
        return self.push_to_hub if self.push_to_hub is not None else self.hub_model_id is not None
