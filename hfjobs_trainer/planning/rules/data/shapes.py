"""Rules about rows that are made into others: by a known conversion, or by a function of the user's own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import row_maps


@rule("DATA030", first=True)
def roles_are_known(context: Context[TrainSpec]) -> Iterator[Found]:
    """Those who speak in a conversation are known.

    What it does:
        Refuses conversations of `from` and `value` with a role that is none of those that are known to mean user,
        assistant, system or tool, such as `human` and `gpt`.

    Why:
        Chat templates write a message of a role that they do not know without its text, or not at all; no error is
        raised, and the model learns from what is left.

    Example:
        ```python
        rows = [{"conversations": [{"from": "narrator", "value": "A dark night."}, {"from": "gpt", "value": "..."}]}]
        hft.SFT(model=..., dataset=rows)
        ```

    Use instead:
        ```python
        def to_messages(row):
            roles = {"narrator": "system", "gpt": "assistant"}
            said = [{"role": roles[item["from"]], "content": item["value"]} for item in row["conversations"]]
            return {"messages": said}

        hft.SFT(model=..., dataset=hft.Dataset(id=..., map=to_messages))
        ```
    """
    for data in context.datasets:
        misfit = data.shape.misfit if data.shape else None
        if misfit and misfit.kind == "role":
            roles = ", ".join(misfit.values)
            why = f"{misfit.column} of {data.id} has messages from {roles}, which chat templates do not know"
            yield Found(
                data.path,
                f"{why}: give hft.Dataset(map=...) a function that returns messages with role "
                "(system, user, assistant or tool) and content",
            )
    _need_rows(context, "conversations")


@rule("DATA031", first=True)
def weights_can_be_kept(context: Context[TrainSpec]) -> Iterator[Found]:
    """Messages that are not to be trained on are not trained on.

    What it does:
        Refuses messages with `weight: 0` for methods that train on whole conversations, and weights that are neither 0
        nor 1; for SFT, each answer of weight 1 becomes a completion of its own, and `completion_only_loss=False` is
        refused, as are rows none of which has such an answer.

    Why:
        TRL knows no weights: the message would be trained on like every other.

    Example:
        ```python
        hft.GKD(model=..., teacher_model=..., dataset="chats-with-weights.jsonl")
        ```

    Use instead:
        ```python
        def last_answer(row):
            return {"messages": [{"role": m["role"], "content": m["content"]} for m in row["messages"]]}

        hft.GKD(model=..., teacher_model=..., dataset=hft.Dataset(id="chats-with-weights.jsonl", map=last_answer))
        ```
    """
    for data in context.datasets:
        misfit = data.shape.misfit if data.shape else None
        if misfit and misfit.kind == "weight":
            label = type(context.spec).METHOD.label
            if misfit.values:
                why = (
                    f"{misfit.column} of {data.id} has messages of weight {', '.join(misfit.values)}, which TRL ignores"
                )
                yield Found(data.path, f"{why}: make them 0 or 1, or drop the weights, with hft.Dataset(map=...)")
                continue
            why = f"{misfit.column} of {data.id} has messages of weight 0, on which {label} would train all the same"
            yield Found(data.path, f"{why}: drop the weights with hft.Dataset(map=...), or train with hft.SFT")
        if data.shape and data.shape.rows_of_one == 0:
            yield Found(
                data.path, f"no answer in messages of {data.id} has a weight other than 0: there is nothing to train on"
            )
        splits = any(step.function == "split_by_weight" for step in data.shape.conversions) if data.shape else False
        if splits and context.field("completion_only_loss", bool) is False:
            why = f"messages of weight 0 in {data.id} would be trained on, as part of the prompt"
            yield Found("completion_only_loss", why, "completion_only_loss=None")
    if ("prompt", "completion") not in context.spec.dataset_formats():
        _need_rows(context, "messages")


def _need_rows(context: Context[TrainSpec], column: str) -> None:
    for data in context.datasets:
        if data.dataset.map is None and (data.given_columns is None or column in data.given_columns):
            need(data.facts.lengths or data.shape, f"the rows of {data.id}", data.path)


@rule("DATA032")
def maps_take_a_row(context: Context[TrainSpec]) -> Iterator[Found]:
    """A function that makes rows takes one row.

    What it does:
        Refuses `map=` with a function that is asynchronous, or that cannot be called with one row alone.

    Why:
        The script calls it once for each row, with a dictionary from column to value.

    Example:
        ```python
        def to_prompt(question, answer):
            return {"prompt": question, "completion": answer}
        ```

    Use instead:
        ```python
        def to_prompt(row):
            return {"prompt": row["question"], "completion": row["answer"]}
        ```
    """
    for function in row_maps(context.spec):
        definition = ast.parse(function.source).body[-1]
        if isinstance(definition, ast.AsyncFunctionDef):
            yield Found("dataset.map", f"{function.name} is asynchronous: write it with def alone")
        if not isinstance(definition, ast.FunctionDef):
            continue
        given = definition.args
        positional = [*given.posonlyargs, *given.args]
        required = len(positional) - len(given.defaults)
        by_name = [name.arg for name, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is None]
        if (not positional and given.vararg is None) or required > 1 or by_name:
            names = ", ".join([*(name.arg for name in positional), *by_name])
            yield Found(
                "dataset.map", f"{function.name} takes ({names}); it is given one row, a dict: def {function.name}(row)"
            )
