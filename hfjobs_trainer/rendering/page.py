"""The page: all that the renderer may know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hfjobs_trainer.facts.shape import Conversion


@dataclass(frozen=True, slots=True)
class Data:
    """A dataset as the script loads it.

    Attributes:
        id: First argument of ``load_dataset`` or path of ``load_from_disk``.
        builder: ``"json"``, ``"csv"``, ``"parquet"`` for a local file, ``"disk"`` for a saved folder; ``None``: Hub.
        arguments: Keyword arguments of ``load_dataset``.
        split: Split to take; of a saved folder that has several, the one to pick.
        keep_columns: Columns to keep, or ``None`` for all.
        columns: Columns to rename, theirs to TRL's.
        num_samples: Rows to keep, or ``None`` for all.
        streaming: Whether rows are read as they are needed.
        fraction: Share in a mixture, relative to the others' shares; ``None`` for the whole dataset.
        mixed_with: Datasets that are appended to this one.
        conversions: What makes its rows those that the method takes, once they are renamed.
        map: The user's function that is given each row before any column is kept or renamed.
    """

    id: str
    builder: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    split: str = "train"
    keep_columns: Sequence[str] | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    num_samples: int | None = None
    streaming: bool = False
    fraction: float | None = None
    mixed_with: Sequence[Data] = ()
    conversions: Sequence[Conversion] = ()
    map: Reward | None = None

    @property
    def parts(self) -> tuple[Data, ...]:
        """All datasets of the mixture, this one first."""
        return (self, *self.mixed_with)

    @property
    def shares(self) -> list[float | None]:
        """The fractions of all datasets of the mixture."""
        return [part.fraction for part in self.parts]


@dataclass(frozen=True, slots=True)
class Reward:
    """One reward of an online method: an expression of the script, and what it needs.

    Attributes:
        kind: ``"builtin"`` (a function of ``trl.rewards``), ``"factory"`` (one that must be called first), ``"model"``
            (a model id) or ``"function"`` (the user's own).
        name: Name of the function, or id of the model.
        arguments: Arguments of a factory, or with which a model is loaded.
    """

    kind: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class SideModel:
    """A model beside the one that is trained, such as a teacher.

    Attributes:
        id: Model id or path.
        dtype: dtype of the loaded weights.
        dtype_is_set: Whether the user set it; then the machine does not change it.
        options: Further arguments of ``from_pretrained``.
    """

    id: str
    dtype: str
    dtype_is_set: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Adapter:
    """An existing adapter that training starts from.

    Attributes:
        id: Adapter id or path.
        options: Arguments of ``PeftModel.from_pretrained``.
        merged: Whether it is merged into the model, and a new one trained on top of it.
    """

    id: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """A vLLM server that the script starts.

    Attributes:
        gpus: GPUs that it takes, the last of the machine.
        port: Port on which it answers.
        seconds: How long it may take until it answers.
        options: Further options of its command line.
        apart: Whether it has the last of several machines to itself.
    """

    gpus: int
    port: int
    seconds: float
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A model or a dataset of a run, as the card names it.

    Attributes:
        role: Such as ``"model"`` or ``"evaluation dataset"``.
        name: Hub id, or what a local one is called.
        address: Its page on the Hub, at the commit that is read; ``None`` for a local one.
        version: That commit, shortened, or the SHA-256 of a local one; ``None`` where unknown.
    """

    role: str
    name: str
    address: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What the model's card says beside what TRL writes, as far as it is known before the run.

    Attributes:
        sources: The models and datasets of the run.
        metadata: Metadata of the card, such as ``datasets`` and ``license``.
        loaded_by: Class that loads the model, or an adapter, by library: ``"transformers"`` and ``"peft"``.
        load_options: What its ``from_pretrained`` takes.
        evaluates: Whether the run evaluates.
        flavor: The rented machine; ``None`` for none, or where that is not told.
        nodes: How many machines.
        usd_per_hour: Their price together; ``None`` likewise.
        jobs: Address of the job, without its id; ``None`` likewise.
        published: Digest and JSON text of the spec as the public may read it; empty where the repository is private.
        replaces: Regular expressions for what TRL's card should say otherwise, each with that.
    """

    sources: Sequence[Source]
    metadata: Mapping[str, Any]
    loaded_by: Mapping[str, str] = field(default_factory=dict[str, str])
    load_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    evaluates: bool = False
    flavor: str | None = None
    nodes: int = 1
    usd_per_hour: float | None = None
    jobs: str | None = None
    published: Mapping[str, str] = field(default_factory=dict[str, str])
    replaces: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Header:
    """The PEP 723 block.

    Attributes:
        requires_python: Such as ``">=3.11"``.
        dependencies: Exact pins, and what the user added.
        exclude_newer: Date after which published packages are ignored, RFC 3339; empty for none.
        unbounded: Packages that are exempt from it.
        job: The ``[tool.hf-jobs]`` table: strings, string lists, string mappings.
        spec: The spec as JSON text.
        digest: The spec's digest.
        uv: More of the ``[tool.uv]`` table.
        card: What the script's card is made of, for the block of the spec: text, numbers, mappings.
    """

    requires_python: str
    dependencies: tuple[str, ...]
    exclude_newer: str
    unbounded: tuple[str, ...]
    job: Mapping[str, Any]
    spec: str
    digest: str
    uv: Mapping[str, Any] = field(default_factory=dict[str, Any])
    card: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that is rendered.

    Attributes:
        method: Name of the training method, which is the template's too.
        extends: Names of the methods that it extends: theirs is the template where it has none.
        label: Such as ``"DPO"``.
        module, trainer, config: Where TRL keeps the method, and its classes.
        experimental: Whether TRL warns that the method may change.
        header: The PEP 723 block.
        model: Model id or path.
        dataset: The training dataset.
        eval_dataset: The evaluation dataset, if it is another one.
        eval_fraction: Share of the training dataset to hold out, or the number of its rows.
        eval_seed: Seed of that split, and of the order of the rows where a method needs them shuffled.
        arguments: Arguments of TRL's config, in the order in which they are written.
        precision: ``"bf16"``, ``"fp16"`` or ``"fp32"``: what mixed precision is meant.
        precision_is_set: Whether the user set it; then it stands in ``arguments``, and the machine does not change it.
        use_cpu: Whether a GPU is left alone.
        dtype: dtype of the loaded weights.
        dtype_is_set: Whether the user set it; then the machine does not change it.
        frozen: Whether none of the model's own weights is trained.
        model_init: ``model_init_kwargs`` beside the dtype.
        processing_class: Place of the tokenizer, if it is not the model's own.
        tokenizer: Arguments of its ``from_pretrained``, where the trainer is given one.
        chat_template: Text that replaces the tokenizer's own; ``None`` to leave that.
        tokenizer_class: Class that loads the tokenizer then, as the trainer would.
        pads_left: Whether the trainer would have it pad and truncate on the left.
        teacher: The model to learn from, or ``None``.
        ref_model: The reference, if it is not the model as it starts.
        reward_model, value_model: The models that score answers and estimate those scores, or ``None``.
        global_batch_size: Sequences per optimizer step; ``None`` if the accumulation is sent as given.
        lora: Arguments of ``peft.LoraConfig`` for a new adapter, or ``None``.
        adapter: The adapter to start from, or ``None``.
        quantization: Arguments of ``BitsAndBytesConfig``, or ``None``.
        bf16_adapter: Whether TRL turns the adapter into bfloat16, which fp16 arithmetic cannot train.
        model_class: Class of transformers that loads the model, where the trainer does not.
        load_options: What its ``from_pretrained`` takes beside the dtype.
        merge: What is saved of an adapter: ``""`` itself, ``"only"`` the model with it merged in, ``"both"``.
        merge_dtype: dtype of the merged model.
        strategy: Name of the strategy that spreads the model over several GPUs, such as ``"ddp"``.
        sharding: Arguments of TRL's config that the strategy consists of.
        downloads: Models that are fetched once before several processes start, each with its revision.
        server: The vLLM server that the script starts, or ``None``.
        rewards: Rewards of an online method.
        tools: Functions that the model may call.
        environments: Name of what makes the environments in which the model acts, or such names by environment.
        formatting: Name of the function that makes the text of a row, or ``None``.
        code: Sources of rewards, tools, environments and the like, each behind that of what it leans on.
        imports: Import statements that these need.
        num_gpus: GPUs that were planned for, 0 for none in particular.
        max_gpus: The most GPUs that are to train, 0 for all.
        nodes: Machines of the run, that of a server apart included; GPUs are those of one of them.
        tracker: Name of the tracker, ``"none"`` without one.
        tracks_files: Whether the tracker only writes files: it is told neither of the run nor of its end.
        tracking: Arguments of the script's ``track``, or ``None``.
        tracked: Values of the user's own in the tracked run's config.
        pushes: Whether the model is pushed.
        resume_from_checkpoint: Checkpoint folder to continue from, or ``None``.
        checkpoints: Where checkpoints are kept beyond the machine's disk: ``"bucket"``, ``"hub"``, ``"disk"`` for
            nowhere else; ``None``: the run cannot be resumed.
        resume_every: Steps between two at which a checkpoint resumes exactly.
        keeps_reference: Whether the reference changes during training, and must be saved with a checkpoint.
        card: What the model's card says, where it is pushed; else ``None``.
        compares: Whether the model is evaluated before training and after.
        pace: What was planned, as arguments of the script's ``check_pace``.
        fixes: What to try if memory or disk turn out too small, as code, by what the script's ``tell_failure`` finds.
    """

    method: str
    label: str
    module: str
    trainer: str
    config: str
    header: Header
    model: str
    dataset: Data
    arguments: Mapping[str, Any]
    experimental: bool = False
    extends: Sequence[str] = ()
    eval_dataset: Data | None = None
    eval_fraction: float | None = None
    eval_seed: int = 42
    precision: str = "bf16"
    precision_is_set: bool = False
    use_cpu: bool = False
    dtype: str = "float32"
    dtype_is_set: bool = False
    frozen: bool = False
    model_init: Mapping[str, Any] = field(default_factory=dict[str, Any])
    processing_class: str | None = None
    tokenizer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chat_template: str | None = None
    tokenizer_class: str = "AutoTokenizer"
    pads_left: bool = False
    ref_model: SideModel | None = None
    teacher: SideModel | None = None
    reward_model: SideModel | None = None
    value_model: SideModel | None = None
    global_batch_size: int | None = None
    lora: Mapping[str, Any] | None = None
    adapter: Adapter | None = None
    quantization: Mapping[str, Any] | None = None
    bf16_adapter: bool = False
    model_class: str = "AutoModelForCausalLM"
    load_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    merge: str = ""
    merge_dtype: str = "bfloat16"
    strategy: str = "ddp"
    sharding: Mapping[str, Any] = field(default_factory=dict[str, Any])
    downloads: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    server: Server | None = None
    rewards: Sequence[Reward] = ()
    tools: Sequence[Reward] = ()
    environments: str | Mapping[str, str] | None = None
    formatting: str | None = None
    code: Sequence[str] = ()
    imports: Sequence[str] = ()
    num_gpus: int = 0
    max_gpus: int = 0
    nodes: int = 1
    tracker: str = "none"
    tracks_files: bool = False
    tracking: Mapping[str, Any] | None = None
    tracked: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pushes: bool = False
    resume_from_checkpoint: str | None = None
    checkpoints: str | None = None
    resume_every: int = 1
    keeps_reference: bool = False
    card: Card | None = None
    compares: bool = False
    pace: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fixes: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @property
    def lineage(self) -> tuple[str, ...]:
        """Names of the templates that it may be written with, its own first."""
        return (self.method, *self.extends)

    @property
    def saves_adapter(self) -> bool:
        """Whether an adapter is what the run leaves, not a whole model."""
        is_adapter = self.lora is not None or (self.adapter is not None and not self.adapter.merged)
        return is_adapter and not self.merge
