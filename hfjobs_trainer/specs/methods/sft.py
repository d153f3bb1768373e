"""Supervised fine-tuning."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.columns import mapping_for
from hfjobs_trainer.specs.environments import kind_of, returned
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.formatted import FormattedSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Training, one_pass
from hfjobs_trainer.specs.trl_args.sft import SFTArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.planning.context import Context
    from hfjobs_trainer.submitters import SFTFields


@method("sft", label="SFT", trainer="SFTTrainer", config="SFTConfig")
class SFT(SFTArgs, FormattedSpec):
    """Supervised fine-tuning with ``trl.SFTTrainer`` on texts, conversations, or prompts with completions."""

    TRAINING: ClassVar[Training] = Training(
        sequences=1,
        head="fused",
        reference="none",
        passes=one_pass,
        answers=None,
        side_models=None,
        free_batch=True,
        least_per_device=1,
        recomputes=True,
        resumes=True,
        evaluates_loss=True,
        evaluates_at_start=True,
        packs=True,
        long_rows="truncated",
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=True,
        renders="labels",
        simulated_step="next_token",
        recipe="sft",
    )

    FORMER_NAMES: ClassVar[names.Former] = {
        **names.ONE_LENGTH,
        "tokenizer": names.gone("it is loaded with the model; chat_template_path brings another template"),
        "num_of_sequences": names.Today("packing", exact=False),
        "sample_packing": "packing",
        "chars_per_token": names.idle("TRL counts the tokens themselves"),
        "dataset_batch_size": names.idle("TRL dropped it"),
    }
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {"packing_strategy": ("wrapped", "0.19")}

    method: Literal["sft"] = "sft"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[SFTFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        if self.formatting_func is not None:
            return ((),)
        return (("messages",), (self.dataset_text_field,), ("prompt", "completion"), ("conversations",), ("input_ids",))

    def taken_columns(self, columns: Sequence[str], *, conversational: bool) -> Mapping[str, str]:
        """Columns of its own making, where the rows are not tokenized yet."""
        return {} if "input_ids" in columns else dict.fromkeys(("labels", "assistant_masks"), _TOKENS)


_ASSISTANT = "assistant_only_loss"
# sft_trainer.py of TRL 1.16, "Building labels"
_TOKENS = "which SFT takes for the tokens to train on"
# Columns in which the assistant's part can be told apart.
_TALKS = (("messages",), ("prompt", "completion"))


@rule("SFT001", methods=["sft"])
def flattened_batches_are_not_truncated(context: Context[SFT]) -> Iterator[Found]:
    """`padding_free` without packing does not truncate.

    What it does:
        Refuses `padding_free=True` without `packing` while `max_length` is set, which it is by default.

    Why:
        Batches that are flattened would exceed `max_length`, so TRL refuses the pair once the model is loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., padding_free=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., packing=True)
        ```
    """
    spec = context.spec
    if spec.padding_free and not spec.packing and spec.max_length is not None:
        why = f"without packing, max_length={spec.max_length} would not be enforced"
        yield Found("padding_free", why, "packing=True")


@rule("SFT002", methods=["sft"])
def packing_needs_a_length(context: Context[SFT]) -> Iterator[Found]:
    """Packing needs `max_length`.

    What it does:
        Refuses `packing` and `eval_packing` with `max_length=None`.

    Why:
        `max_length` is the size of the sequences into which the rows are packed.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., packing=True, max_length=None)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., packing=True, max_length=2048)
        ```
    """
    spec = context.spec
    if spec.max_length is None and (spec.packing or (spec.eval_packing and spec.evaluates)):
        name = "packing" if spec.packing else "eval_packing"
        yield Found("max_length", f"{name}=True fills sequences of this length", "max_length=1024")


@rule("SFT003", methods=["sft"])
def assistant_loss_needs_conversations(context: Context[SFT]) -> Iterator[Found]:
    """`assistant_only_loss` needs conversations.

    What it does:
        Refuses `assistant_only_loss=True` where the dataset has no `messages`, `conversations` or `prompt` with
        `completion`.

    Why:
        In plain text the assistant's part cannot be told apart; TRL refuses it once the model is loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset="roneneldan/TinyStories", assistant_only_loss=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="trl-lib/Capybara", assistant_only_loss=True)
        ```
    """
    if not context.spec.assistant_only_loss:
        return
    for data in context.datasets:
        columns = set(data.need_columns())
        if not columns & {"messages", "conversations"} and not {"prompt", "completion"} <= columns:
            why = f"{data.id} has no conversations: its columns are {', '.join(data.need_columns())}"
            mappings = (mapping_for(names, data.columns or ()) for names in _TALKS)
            mapping = next((found for found in mappings if found), None)
            renamed = {f"{data.path}.columns": data.renaming(mapping or {})}
            yield Found("assistant_only_loss", why, change(context.spec, renamed if mapping else {_ASSISTANT: False}))


@rule("SFT004", methods=["sft"])
def prompt_needs_a_completion(context: Context[SFT]) -> Iterator[Found]:
    """A column `prompt` needs a column `completion`.

    What it does:
        Refuses datasets that could be used but for a column `prompt` without `completion` beside the others.

    Why:
        TRL takes every dataset with a `prompt` for one of prompts and completions: `KeyError: 'completion'`, once the
        model is loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset="HuggingFaceH4/ultrachat_200k")  # prompt, prompt_id and messages
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="HuggingFaceH4/ultrachat_200k", columns={"prompt": "first"}))
        ```
    """
    for data in context.datasets:
        columns = set(data.columns or ())
        fits = any(set(names) <= columns for names in context.spec.dataset_formats())
        if fits and "prompt" in columns and "completion" not in columns:
            original = next((name for name, new in data.dataset.columns.items() if new == "prompt"), "prompt")
            renamed = data.dataset.columns | {original: "first_prompt"}
            why = f"{data.id} has a column prompt, for which TRL expects a completion"
            yield Found(data.path, why, change(context.spec, {f"{data.path}.columns": renamed}))
    for data in context.datasets:
        data.need_columns()


@rule("SFT005", methods=["sft"], severity="warning")
def completion_loss_needs_completions(context: Context[SFT]) -> Iterator[Found]:
    """`completion_only_loss` does nothing without completions.

    What it does:
        Warns of `completion_only_loss=True` where the dataset has no columns `prompt` and `completion`.

    Why:
        TRL ignores it in silence for texts and conversations: the loss is taken over everything.

    Example:
        ```python
        hft.SFT(model=..., dataset="trl-lib/Capybara", completion_only_loss=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="trl-lib/Capybara", assistant_only_loss=True)
        ```
    """
    if not context.spec.completion_only_loss:
        return
    for data in context.datasets:
        columns = set(data.need_columns())
        if not {"prompt", "completion"} <= columns:
            talks = columns & {"messages", "conversations"}
            fix = "completion_only_loss=None" + (", assistant_only_loss=True" if talks else "")
            yield Found("completion_only_loss", f"is ignored: {data.id} has no prompt and completion", fix)


@rule("SFT006", methods=["sft"])
def selective_checkpointing_is_on(context: Context[SFT]) -> Iterator[Found]:
    """Selective checkpointing is a kind of checkpointing without re-entry.

    What it does:
        Refuses `gradient_checkpointing_kwargs={"selective": True}` with `gradient_checkpointing=False`, and with
        `use_reentrant=True`.

    Why:
        TRL refuses both once the model is loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., gradient_checkpointing=False, gradient_checkpointing_kwargs={"selective": True})
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., gradient_checkpointing_kwargs={"selective": True})
        ```
    """
    spec = context.spec
    options = spec.gradient_checkpointing_kwargs
    if not isinstance(options, dict) or not options.get("selective"):
        return
    if not spec.gradient_checkpointing:
        yield Found("gradient_checkpointing", "selective checkpointing needs it", "gradient_checkpointing=True")
    if options.get("use_reentrant"):
        why = "selective checkpointing cannot be re-entrant"
        path = "gradient_checkpointing_kwargs"
        yield Found(path, why, change(spec, {f"{path}.use_reentrant": REMOVE}))


_READ_FIRST = ("input_ids", "messages", "conversations", "prompt", "image", "images")
"""Columns that TRL reads in place of the text that a function made (TRL 1.16: trainer/sft_trainer.py)."""


@rule("SFT007", methods=["sft"])
def formatted_rows_are_texts(context: Context[SFT]) -> Iterator[Found]:
    """What `formatting_func` returns is a text, and is trained on.

    What it does:
        Refuses a `formatting_func` that by its source returns a list, a dict or nothing, or that is async;
        `completion_only_loss=True`, `assistant_only_loss=True` and another `dataset_text_field` beside it; and a
        dataset with a column that TRL reads in place of the text: `messages`, `conversations`, `prompt`, `image`,
        `images` or `input_ids`.

    Why:
        TRL calls it with one row and puts what it returns into the column `text`. Where there is also a prompt or a
        conversation it trains on those, and the function has no effect; it used to be called with many rows at once,
        and to return a list.

    Example:
        ```python
        def convert(rows):
            return [f"Q: {question}" for question in rows["question"]]
        ```

    Use instead:
        ```python
        def convert(row):
            return f"Q: {row['question']}"
        ```
    """
    spec, path = context.spec, "formatting_func"
    function = spec.formatting_func
    if function is None:
        return
    definition, name = function.definition, function.name
    wrong = "a coroutine" if isinstance(definition, ast.AsyncFunctionDef) else ""
    kinds = [kind_of(value) for value in returned(definition)]
    wrong = wrong or next((kind for kind in kinds if kind not in ("", "a text")), "")
    if wrong:
        yield Found(path, f"{name} returns {wrong}: it is given one row, and returns its text")
    for option in ("completion_only_loss", _ASSISTANT):
        if getattr(spec, option):
            yield Found(option, f"{path} makes one text of a row, in which no part is told apart", f"{option}=False")
    if spec.dataset_text_field != "text":
        yield Found("dataset_text_field", f"{path} makes the column text", 'dataset_text_field="text"')
    for data in context.datasets:
        if read := [column for column in _READ_FIRST if column in data.need_columns()]:
            why = f"TRL trains on {' and '.join(read)} of {data.id}, not on what {name} returns"
            yield Found(path, f"{why}: give it another name in columns=, by which {name} then reads it")
