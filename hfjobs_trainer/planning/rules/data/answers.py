"""Rules about what rows teach: answers, labels, pairs that differ, rows that come again."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.facts.values import Finding, ValueFacts
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.rendered import rendered
from hfjobs_trainer.planning.rules.data.datasets import evaluates_trained_rows
from hfjobs_trainer.planning.rules.data.looked_at import findings, named, need_rows, quoted, share, where
from hfjobs_trainer.planning.rules.data.values import keep_answers
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.inputs import DataInput

TALKS = ("messages", "conversations")
"""Columns of whole conversations, of which all is trained on unless the spec says otherwise."""

# Shares of the rows from which on one is warned. Real datasets have a few such rows: 1% of empty answers and 2% of
# equal pairs, of which the scores tied, still train what was meant; lines of a text are often empty.
_EMPTY_ANSWERS, _EMPTY_TEXTS, _EQUAL, _REPEATED_PROMPT, _NO_END, _SEEN = 0.01, 0.5, 0.02, 0.1, 0.1, 0.05
# A fifth comes again where sets overlap or were copied; a few dozen rows may be an example that is meant to repeat.
_AGAIN, _FEWEST_ROWS = 0.2, 100
_FEWEST_LABELS = 4
# Texts may begin alike by chance.
_WITHOUT_PROMPT, _FEWEST_PAIRS = 0.5, 4


@rule("DATA019")
def rows_have_answers(context: Context[TrainSpec]) -> Iterator[Found]:
    """There are answers to learn from.

    What it does:
        Refuses answers (`completion`, `chosen`, `rejected`) without a message of the assistant, conversations without
        one where the loss is on the assistant alone or where no row has any, conversations of a single message for GKD,
        and datasets in which every answer is empty, or every pair has two equal answers.

    Why:
        `assistant_only_loss` raises a `RuntimeError` at such a row, GKD one of its chat template. Everything else
        trains, on nothing: the loss of equal answers is constant, and an empty one teaches to say nothing.

    Example:
        ```python
        hft.SFT(model=..., dataset="prompts.jsonl")  # {"messages": [{"role": "user", "content": ...}]}
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="answered.jsonl")  # with a message of the assistant at the end
        ```
    """
    known = rendered(context.spec, context.facts)
    for data, values, finding in findings(context, "no answer", "alone", "empty", "equal"):
        every, place = finding.count == values.sampled > 1, where(finding, values)
        column = named(finding.columns)
        match finding.kind:
            case "no answer":
                masked = context.field("assistant_only_loss", bool)
                # of some rows, TMPL005 tells it as the template has it
                told = not every and known is not None and known.find("no assistant") is not None
                if (column not in TALKS or masked or every) and not told:
                    fix = "assistant_only_loss=False" if masked and not every else ""
                    yield Found(data.path, f"{column} has no message of the assistant: {place}", fix)
            case "alone":
                if context.spec.TRAINING.answers is not None:
                    yield Found(data.path, f"{column} holds one message, which leaves no prompt: {place}")
            case "empty":
                # to prefer anything to nothing can be learned
                if every and column != "rejected":
                    yield Found(data.path, f"{column} says nothing in any of the {values.sampled} rows looked at")
            case _:
                if every:
                    why = f"chosen and rejected are equal in all {values.sampled} rows looked at"
                    yield Found(data.path, f"{why}, so that there is nothing to prefer")


@rule("DATA020", severity="warning")
def most_answers_say_something(context: Context[TrainSpec]) -> Iterator[Found]:
    """Answers say something, and conversations end with one.

    What it does:
        Warns where at least 1% of the answers are empty or blank (half of the rows, for plain texts), and where at
        least 10% of the conversations end with another message than the assistant's, or have none of it.

    Why:
        An empty answer teaches the model to end at once. A conversation that ends with the user's message trains the
        model to write that message.

    Example:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"prompt": "What is up?", "completion": ""}, again and again
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="answered.jsonl")  # without these rows
        ```
    """
    for data, values, finding in findings(context, "empty", "no end", "no answer"):
        column, part = finding.columns[0], share(finding, values)
        if finding.kind == "empty":
            plain = (column,) not in _ANSWERED and column not in TALKS
            least = _EMPTY_TEXTS if plain else _EMPTY_ANSWERS
            # all of them is an error
            if least <= part and (part < 1 or values.sampled == 1 or column == "rejected"):
                yield Found(data.path, f"{column} says nothing: {where(finding, values)}")
        elif finding.kind == "no end":
            if part >= _NO_END:
                why = f"{column} ends with a message of the {finding.excerpt or 'user'}, not the assistant"
                yield Found(data.path, f"{why}: {where(finding, values)}")
        elif column in TALKS and _NO_END <= part < 1 and not context.field("assistant_only_loss", bool):
            yield Found(data.path, f"{column} has no message of the assistant: {where(finding, values)}")


def _takes(context: Context[TrainSpec], *columns: str) -> bool:
    """Whether the method takes datasets with one of these columns."""
    return any(name in columns for names in context.spec.dataset_formats() for name in names)


_ANSWERED = (("completion",), ("chosen",), ("rejected",))


@rule("DATA021", severity="warning")
def roles_are_usual(context: Context[TrainSpec]) -> Iterator[Found]:
    """Roles are those of chats.

    What it does:
        Warns of messages of a role that is neither `system`, `developer`, `user`, `assistant` or `tool`, nor one that
        the templates of some models know.

    Why:
        A template writes such a role into the row, or leaves the message out. Either may be meant, and is worth a look.

    Example:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"messages": [{"role": "narrator", "content": ...}, ...]}
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="rows.jsonl")  # {"messages": [{"role": "system", "content": ...}, ...]}
        ```
    """
    known = rendered(context.spec, context.facts)
    left_out, refused = (known.find("text"), known.find("raises")) if known else (None, None)
    for data, values, finding in findings(context, "unknown role"):
        # what this template does with it is an error
        if (left_out and left_out.detail == finding.excerpt) or (refused and refused.first == finding.row):
            continue
        why = f'{finding.columns[0]} holds a message of role "{finding.excerpt}", which few chat templates know'
        yield Found(data.path, f"{why}: {where(finding, values)}")


@rule("DATA022")
def labels_are_true_or_false(context: Context[TrainSpec]) -> Iterator[Found]:
    """Labels are true or false.

    What it does:
        Refuses labels that are neither booleans nor 0 and 1: words, other numbers.

    Why:
        TRL adds them up: `TypeError: unsupported operand type(s) for +: 'int' and 'str'`, once the model is loaded.
        Any number but 0 counts as desirable, -1 as well.

    Example:
        ```python
        hft.KTO(model=..., dataset="rows.jsonl")  # {"prompt": ..., "completion": ..., "label": "good"}
        ```

    Use instead:
        ```python
        hft.KTO(model=..., dataset="rows.jsonl")  # {"prompt": ..., "completion": ..., "label": true}
        ```
    """
    if not _takes(context, "label"):
        return
    for data, values, finding in findings(context, "label"):
        why = f"label is neither true nor false, 1 nor 0{quoted(finding)}"
        yield Found(data.path, f"{why}: {where(finding, values)}")


@rule("DATA023", severity="warning")
def both_labels_occur(context: Context[TrainSpec]) -> Iterator[Found]:
    """There are good answers and bad ones.

    What it does:
        Warns where all rows that were looked at, 4 at least, have the same label.

    Why:
        KTO learns from the difference. With one label alone, it raises or lowers the probability of everything; and
        since its trainer does not shuffle, rows that are sorted by label do the same in turns.

    Example:
        ```python
        hft.KTO(model=..., dataset="likes.jsonl")  # "label": true in every row
        ```

    Use instead:
        ```python
        hft.KTO(model=..., dataset="likes-and-dislikes.jsonl")
        ```
    """
    if not _takes(context, "label"):
        return
    for data, values, finding in findings(context, "one label"):
        # of other labels, DATA022 tells
        if finding.count >= _FEWEST_LABELS and not values.of("label"):
            yield Found(data.path, f"label is {finding.excerpt} in all {finding.count} rows looked at that have one")


@rule("DATA024", severity="warning")
def pairs_differ(context: Context[TrainSpec]) -> Iterator[Found]:
    """The two answers of a pair differ.

    What it does:
        Warns where at least 2% of the pairs have two equal answers.

    Why:
        There is nothing to prefer: such a pair costs time, and its loss never falls. More than a few mean that the
        answers were put together wrongly.

    Example:
        ```python
        hft.DPO(model=..., dataset="pairs.jsonl")  # {"prompt": "Hi", "chosen": "Hello", "rejected": "Hello"}
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset="different-pairs.jsonl")
        ```
    """
    if not _takes(context, "rejected"):
        return
    for data, values, finding in findings(context, "equal"):
        # all of them is an error
        if _EQUAL <= share(finding, values) < 1 or finding.count == values.sampled == 1:
            yield Found(data.path, f"chosen and rejected are equal: {where(finding, values)}")


@rule("DATA025", severity="warning")
def answers_do_not_repeat_the_prompt(context: Context[TrainSpec]) -> Iterator[Found]:
    """Answers do not begin with the prompt.

    What it does:
        Warns where at least 10% of the answers begin with the whole prompt beside them, as text or as messages.

    Why:
        TRL adds the answer to the prompt, so that the prompt stands there twice, the second time as what the model
        learns to say.

    Example:
        ```python
        hft.DPO(model=..., dataset="pairs.jsonl")  # prompt, and the whole conversation in chosen and rejected
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=hft.Dataset(id="pairs.jsonl", keep_columns=["chosen", "rejected"]))
        ```
    """
    if not _takes(context, "completion", "rejected"):
        return
    told: dict[str, tuple[DataInput, ValueFacts, list[Finding]]] = {}
    for data, values, finding in _repeating(context):
        told.setdefault(data.path, (data, values, []))[2].append(finding)
    for data, values, several in told.values():
        columns = [finding.columns[0] for finding in several]
        both = {"chosen", "rejected"} <= set(columns)
        verb = "begin" if len(columns) > 1 else "begins"
        why = f"{named(columns)} {verb} with the prompt: {where(several[0], values)}"
        yield Found(data.path, why, keep_answers(context, data) if both else "")
    need_rows(context)


def _repeating(context: Context[TrainSpec]) -> Iterator[tuple[DataInput, ValueFacts, Finding]]:
    for data in context.datasets:
        values = data.facts.values
        for finding in values.of("repeated prompt") if values else ():
            if values and share(finding, values) >= _REPEATED_PROMPT and "prompt" in (data.columns or ("prompt",)):
                yield data, values, finding


@rule("DATA033", severity="warning")
def pairs_have_a_prompt(context: Context[TrainSpec]) -> Iterator[Found]:
    """Pairs have a prompt.

    What it does:
        Warns where there is no column `prompt`, and the two texts of at least half of the pairs, in 4 or more of those
        that were looked at, begin differently.

    Why:
        The beginning that both have in common is the prompt. Where there is none, the model learns to prefer answers
        without having seen what was asked, which most likely is in a column that is not read.

    Example:
        ```python
        hft.DPO(model=..., dataset="pairs.jsonl")  # {"ask": "What is red?", "chosen": "A rose.", "rejected": "Snow."}
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=hft.Dataset(id="pairs.jsonl", columns={"ask": "prompt"}))
        ```
    """
    for data, values, finding in findings(context, "no prompt"):
        if "prompt" in (data.columns or ()):
            continue
        if finding.count >= _FEWEST_PAIRS and share(finding, values) >= _WITHOUT_PROMPT:
            why = f"chosen and rejected begin differently, and there is no column prompt: {where(finding, values)}"
            renamed = {f"{data.path}.columns": data.renaming({finding.excerpt: "prompt"})}
            yield Found(
                data.path, why, change(context.spec, renamed) if finding.excerpt in (data.columns or ()) else ""
            )


@rule("DATA026", severity="warning")
def rows_differ(context: Context[TrainSpec]) -> Iterator[Found]:
    """Rows do not come again and again.

    What it does:
        Warns where at least 20% of the rows were there before, word for word, among those that were looked at, 100
        at least. Prompts to which the model itself answers may come as often as they like.

    Why:
        Each copy is one more epoch on that row, and one that is held out for the evaluation is trained on all the same.

    Example:
        ```python
        hft.SFT(model=..., dataset="copied.jsonl", eval_fraction=0.1)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="distinct.jsonl", eval_fraction=0.1, num_train_epochs=5)
        ```
    """
    if ("prompt",) in context.spec.dataset_formats():
        return
    for data, values, finding in findings(context, "repeated row"):
        trained = data.path.split(".")[0] == "dataset"
        if trained and values.sampled >= _FEWEST_ROWS and share(finding, values) >= _AGAIN:
            why = f"{finding.count} of the {values.sampled} rows looked at were there before, word for word"
            yield Found(data.path, f"{why}; row {finding.row} is the first")


@rule("DATA027", severity="warning")
def evaluation_rows_are_new(context: Context[TrainSpec]) -> Iterator[Found]:
    """The evaluation set holds no rows of the training set.

    What it does:
        Warns where at least 5% of the rows of `eval_dataset` are, word for word, among those of the training dataset
        that were looked at. Where answers are generated, rows are compared by their prompts.

    Why:
        A model that has seen the answers scores well on them whatever it has learned.

    Example:
        ```python
        hft.SFT(model=..., dataset="all.jsonl", eval_dataset="some-of-all.jsonl")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="all.jsonl", eval_fraction=0.1)
        ```
    """
    trained = set[int]()
    for data in context.datasets:
        if data.path.split(".")[0] == "dataset":
            trained |= data.facts.values.digests if data.facts.values else set()
    for data in context.datasets:
        values = data.facts.values
        seen = values.digests & trained if values and data.path.split(".")[0] == "eval_dataset" else frozenset[int]()
        # of the same rows by another name, another rule tells
        if values and seen and len(seen) / len(values.digests) >= _SEEN and not evaluates_trained_rows(context.spec):
            why = f"{len(seen)} of its {len(values.digests)} different rows looked at are in the training dataset too"
            streaming = context.spec.dataset.streaming
            yield Found(data.path, why, "" if streaming else "eval_dataset=None, eval_fraction=0.1")
    if context.spec.eval_dataset is not None:
        need_rows(context)
