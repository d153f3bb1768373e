"""Rules about the form of values: what TRL's trainers fail on, row by row."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.facts.values import Finding, ValueKind
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.rules.data.looked_at import findings, named, original, quoted, where
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.inputs import DataInput

_MISSING: dict[ValueKind, str] = {
    "null": "holds no value",
    "null content": "holds a message without content",
    "no content": "holds a message without content",
    "empty list": "holds an empty list in place of messages",
    "empty prompt": "holds a prompt without text, from which nothing can be generated",
}
_TAKEN_FOR: dict[ValueKind, str] = {
    "json": "holds messages as JSON text",
    "message": "holds one message in place of a list of messages",
    "texts": "holds a list of texts in place of messages with role and content",
    "lists": "holds a list of lists in place of messages with role and content",
    "from and value": "holds messages with from and value in place of role and content",
    "number": "holds a number",
    "text": "holds a text in place of a list of messages",
    "messages": "holds messages in place of a text",
    "unknown": "holds neither text nor messages",
    "content": "holds a message whose content is no text",
}
# Columns that only some trainers read: those that tokenize whole rows, and those that score pairs.
_OPTIONS: dict[ValueKind, str] = {
    "tools": "holds what is neither a list of tools nor such a list as JSON text",
    "template arguments": "holds no arguments by name, which every row needs where there is this column",
    "margin": "holds no number, which every row needs where there is this column",
}


@rule("DATA013")
def values_are_there(context: Context[TrainSpec]) -> Iterator[Found]:
    """Every row has its values.

    What it does:
        Refuses rows without a value in a column that is trained on (null, or the NaN that pandas writes), with an empty
        list in place of messages, with a message without content (unless it calls tools), and, where answers are
        generated, with an empty prompt. Looks at a sample of the rows: up to 512 of a local dataset, up to 100 of one
        on the Hub; rows are counted from 0.

    Why:
        TRL raises a bare `AttributeError: 'NoneType' object has no attribute 'endswith'` once the model is loaded, or
        at the step that comes to such a row; some chat templates write "None" and train on that.

    Example:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # a row is {"prompt": "What is up?", "completion": null}
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="complete-rows.jsonl")  # without that row
        ```
    """
    for data, values, finding in findings(context, *_MISSING):
        yield Found(data.path, f"{finding.columns[0]} {_MISSING[finding.kind]}: {where(finding, values)}")


@rule("DATA014")
def values_have_their_form(context: Context[TrainSpec]) -> Iterator[Found]:
    r"""A value is text, or a list of messages.

    What it does:
        Refuses rows whose values are of another form: messages as JSON text, a single message, a list of texts, a
        number, a text where messages are needed and the reverse; and columns `tools`, `chat_template_kwargs` and, of
        reward models, `margin` that cannot be read.

    Why:
        TRL takes a list of messages with `role` and `content` for a conversation, and everything else for a text. It
        raises a bare `AttributeError` or `KeyError` once the model is loaded; JSON text it trains on as it is written,
        braces and all.

    Example:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"messages": "[{\"role\": \"user\", \"content\": ...}]"}
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"messages": [{"role": "user", "content": ...}, ...]}
        ```
    """
    for data, values, finding in findings(context, *_TAKEN_FOR, *_OPTIONS):
        if finding.kind in _OPTIONS and not _reads(context, finding.kind):
            continue
        says = (_TAKEN_FOR | _OPTIONS)[finding.kind]
        why = f"{finding.columns[0]} {says}{quoted(finding)}: {where(finding, values)}"
        yield Found(data.path, why, _other_column(context, data, finding))


def _reads(context: Context[TrainSpec], kind: ValueKind) -> bool:
    training = context.spec.TRAINING
    return training.head == "none" if kind == "margin" else training.answers is None


# The column in which such values are right.
_RIGHT_COLUMNS: dict[ValueKind, tuple[str, ...]] = {
    "from and value": ("conversations",),
    "messages": ("messages",),
    "text": ("text",),
}


def _other_column(context: Context[TrainSpec], data: DataInput, finding: Finding) -> str:
    """The fix that gives the column the name under which its values are taken; empty if there is none."""
    formats, columns = context.spec.dataset_formats(), data.columns or ()
    right = _RIGHT_COLUMNS.get(finding.kind, ())
    every = data.facts.values is not None and finding.count == data.facts.values.sampled
    if not every or right not in formats or right[0] in columns or "prompt" in columns:
        return ""
    return change(context.spec, {f"{data.path}.columns": data.renaming({finding.columns[0]: right[0]})})


@rule("DATA015")
def forms_go_together(context: Context[TrainSpec]) -> Iterator[Found]:
    """Prompt and answers have the same form.

    What it does:
        Refuses rows with a text as prompt and messages as answers, or the reverse, and pairs of conversations without a
        prompt that have no message in common. Where the answers are whole conversations, the prompt is not needed.

    Why:
        TRL adds the answer to the prompt: `TypeError: can only concatenate list (not "str") to list`, once the model is
        loaded. Of pairs without a prompt it takes the messages with which both begin, and fails where there are none;
        a reward model scores both as they are.

    Example:
        ```python
        hft.DPO(model=..., dataset="HuggingFaceH4/ultrafeedback_binarized")  # the prompt is a text
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=hft.Dataset(id="HuggingFaceH4/ultrafeedback_binarized",
                keep_columns=["chosen", "rejected"]))
        ```
    """
    for data, values, finding in findings(context, "beside", "whole answers", "no shared prompt"):
        place = where(finding, values)
        if finding.kind == "no shared prompt":
            if context.spec.TRAINING.head != "none":
                why = f"chosen and rejected begin with different messages, so that there is no prompt: {place}"
                yield Found(data.path, why)
            continue
        why = f"{named(finding.columns)} hold text and messages side by side: {place}"
        yield Found(data.path, why, keep_answers(context, data) if finding.kind == "whole answers" else "")


def keep_answers(context: Context[TrainSpec], data: DataInput) -> str:
    """The fix by which pairs are trained on without their prompt, which both contain; empty if they are no pairs."""
    pair = ("chosen", "rejected")
    if pair not in context.spec.dataset_formats() or not set(pair) <= set(data.columns or ()):
        return ""
    renamed = {name: new for name, new in data.dataset.columns.items() if new in pair}
    kept = [original(data, name) for name in pair]
    return change(context.spec, {f"{data.path}.keep_columns": kept, **_columns(data, renamed)})


def _columns(data: DataInput, renamed: dict[str, str]) -> dict[str, object]:
    return {f"{data.path}.columns": renamed} if renamed != data.dataset.columns else {}


@rule("DATA016")
def rows_are_alike(context: Context[TrainSpec]) -> Iterator[Found]:
    """All rows have the same form.

    What it does:
        Refuses a dataset, or a mixture, of texts in some rows and messages in others, and columns `prompt`,
        `completion`, `chosen`, `rejected` or `messages` that are not trained on and of another form than those that
        are.

    Why:
        TRL decides by the first row whether it tokenizes texts or conversations. In which column it looks is left to
        chance: it takes any of these five, and which one changes from process to process, so that the same run ends in
        an `AttributeError` on some days only.

    Example:
        ```python
        hft.DPO(model=..., dataset="me/pairs")  # prompt, chosen, rejected as messages; a text in completion
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=hft.Dataset(id="me/pairs", columns={"completion": "other_completion"}))
        ```
    """
    yield from _differing_parts(context)
    for data, values, finding in findings(context, "differing rows", "differing column"):
        column, place = finding.columns[0], where(finding, values)
        if finding.kind == "differing rows":
            others = "text" if finding.excerpt == "messages" else "messages"
            yield Found(data.path, f"{column} holds {finding.excerpt}, where the first rows hold {others}: {place}")
        elif context.spec.TRAINING.answers is None:
            why = f"by {column}, which is not trained on, TRL may take messages for text or the reverse: {place}"
            renamed = {f"{data.path}.columns": data.renaming({column: f"other_{column}"})}
            yield Found(data.path, why, change(context.spec, renamed))


def _differing_parts(context: Context[TrainSpec]) -> Iterator[Found]:
    """Parts of a mixture of another form than its first."""
    forms = [(data, data.facts.values.conversational) for data in context.datasets if data.facts.values]
    words = {True: "messages", False: "texts"}
    for name in ("dataset", "eval_dataset"):
        parts = [(data, form) for data, form in forms if form is not None and data.path.split(".")[0] == name]
        for data, form in parts[1:]:
            first, other = parts[0]
            if form != other:
                yield Found(data.path, f"{data.id} holds {words[form]}, and {first.id} holds {words[other]}")


@rule("DATA017")
def messages_have_roles(context: Context[TrainSpec]) -> Iterator[Found]:
    """Messages have a role that chat templates know.

    What it does:
        Refuses messages without `role`, and roles by names such as `human` and `gpt`.

    Why:
        Without a role, TRL takes the conversation for a text: `KeyError: 'text'`. A role by another name is written
        into the row as it is, or left out with all it says: the model learns turns that no chat will ever have.

    Example:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"messages": [{"role": "human", "content": ...}, ...]}
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"messages": [{"role": "user", "content": ...}, ...]}
        ```
    """
    for data, values, finding in findings(context, "no role", "other role"):
        column, place = finding.columns[0], where(finding, values)
        if finding.kind == "no role":
            yield Found(data.path, f"{column} holds a message without role{quoted(finding)}: {place}")
        else:
            known = "chat templates know user, assistant, system and tool"
            yield Found(data.path, f'{column} holds a message of role "{finding.excerpt}"; {known}: {place}')


@rule("DATA018")
def contents_are_text(context: Context[TrainSpec]) -> Iterator[Found]:
    """Text models get messages whose content is text.

    What it does:
        Refuses messages whose content is a list of parts, `[{"type": "text", "text": ...}]`, where the model is known
        to be a text model.

    Why:
        Templates of text models add the content to a text: `TypeError: can only concatenate str (not "list") to str`,
        once the model is loaded; others write out the list as Python would.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset="rows.jsonl")  # "content": [{"type": "text", "text": ...}]
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset="rows.jsonl")  # "content": "..."
        ```
    """
    found = list(findings(context, "parts"))
    if not found:
        return
    if not need(context.facts.model.is_vision, f"whether {context.spec.model} is a vision model", "model"):
        for data, values, finding in found:
            why = f"{finding.columns[0]} holds a message whose content is a list of parts, and {context.spec.model}"
            yield Found(data.path, f"{why} is a text model: {where(finding, values)}")
