"""A fine-tuning job of OpenAI, as the call that retrieves it returns it, in the words of a spec.

Its model has no weights here and is to be named; every other value that it does not tell is a note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.notes import LEFT_OUT, Note
from hfjobs_trainer.specs.openai_graders import Graded, read_grader
from hfjobs_trainer.specs.registry import METHODS

Values = dict[str, Any]
FindFile = Callable[[str], str | None]
"""The path of a file of OpenAI's on this machine, by its id; ``None`` if it is not there."""

# What OpenAI calls a method -> ours.
_METHODS = {"supervised": "sft", "dpo": "dpo", "reinforcement": "grpo"}
_EPOCHS = 3
"""Epochs that "auto" is taken for."""
_LORA_RATE = 10
"""An adapter learns at about this multiple of the rate of all weights (TRL: docs/source/peft_integration.md)."""


def is_openai_job(raw: Mapping[str, Any]) -> bool:
    """Whether a mapping is a fine-tuning job of OpenAI."""
    return raw.get("object") == "fine_tuning.job"


def read_openai_job(
    job: Mapping[str, Any], given: Mapping[str, Any], find: FindFile
) -> tuple[str | None, Values, list[Note], list[Problem]]:
    """Method, fields of its spec, what was taken for what, and what cannot be said.

    Args:
        job: What the call returned.
        given: Fields of the spec that are given beside, and take precedence.
        find: Finds the files of the rows.
    """
    section = _mapping(job.get("method"))
    kind = str(section.get("type", "supervised"))
    method = _METHODS.get(kind)
    if method is None:
        why = f"a fine-tuning of the type {kind} has no method that is the same; there are {', '.join(_METHODS)}"
        return None, {}, [], [Problem("LOAD004", "method", why)]
    own = _mapping(section.get(kind))
    told = _mapping(own.get("hyperparameters")) or _mapping(job.get("hyperparameters"))
    fields: Values = {}
    notes = [Note("method", method, f"OpenAI's method {kind}", "method")]
    problems: list[Problem] = []
    if "model" not in given:
        why = f"{job.get('model')} has no weights here: name a model of the Hub"
        problems.append(Problem("SPEC002", "model", why, keywords({"model": "Qwen/Qwen2.5-7B-Instruct"})))
    if "dataset" not in given:
        problems += _rows(fields, notes, job, kind, find)
    _numbers(fields, notes, told, method, has_lora="lora" in given)
    if isinstance(seed := job.get("seed"), int):
        fields["seed"] = seed
    if isinstance(suffix := job.get("user_provided_suffix"), str) and suffix:
        fields["output_dir"] = suffix
        notes.append(Note("output_dir", suffix, f"user_provided_suffix: {suffix}", "user_provided_suffix"))
    _tracking(fields, job)
    if kind == "reinforcement" and "reward_funcs" not in given:
        _rewards(fields, notes, problems, read_grader(own.get("grader")))
    return method, fields, notes, problems


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _rows(fields: Values, notes: list[Note], job: Mapping[str, Any], kind: str, find: FindFile) -> list[Problem]:
    """The files of training and evaluation, which lie beside the job's."""
    problems: list[Problem] = []
    for name, field in (("training_file", "dataset"), ("validation_file", "eval_dataset")):
        id = job.get(name)
        if not isinstance(id, str):
            continue
        path = find(id)
        if path is None:
            why = f"{name}: {id} is not beside the job: save it there as {id}.jsonl, or name a dataset"
            problems.append(Problem("LOAD001", field, why, keywords({field: "train.jsonl"})))
            continue
        data: Values = {"id": path}
        if kind == "reinforcement":
            data["columns"] = {"messages": "prompt"}
            notes.append(Note(f"{field}.columns", data["columns"], "the messages are what is answered", name))
        fields[field] = data
        if field == "eval_dataset":
            fields["eval_strategy"] = "epoch"
            notes.append(Note("eval_strategy", "epoch", f"{name}: OpenAI evaluates on it while it trains", name))
    return problems


def _numbers(fields: Values, notes: list[Note], told: Mapping[str, Any], method: str, *, has_lora: bool) -> None:
    """Epochs, batch, learning rate and beta; "auto" is what OpenAI chose by itself."""
    epochs, batch, factor = (told.get(name) for name in ("n_epochs", "batch_size", "learning_rate_multiplier"))
    if isinstance(epochs, int | float) and not isinstance(epochs, bool):
        fields["num_train_epochs"] = float(epochs)
    else:
        fields["num_train_epochs"] = float(_EPOCHS)
        notes.append(Note("num_train_epochs", float(_EPOCHS), f"n_epochs: {epochs}; a guess", "n_epochs"))
    answers = METHODS[method].model_fields.get("num_generations")
    if isinstance(batch, int) and not isinstance(batch, bool):
        fields["global_batch_size"] = batch * (answers.default if answers else 1)
        if answers:
            why = f"batch_size: {batch} prompts, each with TRL's {answers.default} answers"
            notes.append(Note("global_batch_size", fields["global_batch_size"], why, "batch_size"))
    else:
        notes.append(Note("global_batch_size", LEFT_OUT, f"batch_size: {batch}; the planner decides", "batch_size"))
    rate = METHODS[method].model_fields["learning_rate"].default * (_LORA_RATE if has_lora else 1)
    whose = f"TRL's default{', ten times as high for an adapter' if has_lora else ''}"
    number = float(factor) if isinstance(factor, int | float) and not isinstance(factor, bool) else 1.0
    value = float(f"{rate * number:.6g}")
    fields["learning_rate"] = value
    why = f"learning_rate_multiplier: {factor}; OpenAI does not tell of what, so of {whose}, {rate:g}"
    notes.append(Note("learning_rate", value, why, "learning_rate_multiplier"))
    beta = told.get("beta")
    if isinstance(beta, int | float) and not isinstance(beta, bool):
        fields["beta"] = float(beta)
    rest = sorted(told.keys() - {"n_epochs", "batch_size", "learning_rate_multiplier"} - fields.keys())
    notes += [
        Note(name, LEFT_OUT, f"{name}: {told[name]}; TRL's default, if it has such a thing", name) for name in rest
    ]


def _tracking(fields: Values, job: Mapping[str, Any]) -> None:
    integrations = job.get("integrations")
    for item in cast("list[Any]", integrations if isinstance(integrations, list) else []):
        wandb = _mapping(_mapping(item).get("wandb"))
        if wandb.get("project"):
            named = {"project": wandb["project"], "name": wandb.get("name")}
            fields["tracking"] = {"report_to": "wandb", **{key: text for key, text in named.items() if text}}
            fields |= {"env": {"WANDB_ENTITY": wandb["entity"]}} if wandb.get("entity") else {}


def _rewards(fields: Values, notes: list[Note], problems: list[Problem], graded: Graded | str) -> None:
    if isinstance(graded, str):
        problems.append(Problem("SPEC005", "reward_funcs", graded, keywords({"reward_funcs": "accuracy_reward"})))
        fields["reward_funcs"] = ["accuracy_reward"]
        return
    functions = [name for name, _ in graded.functions]
    fields["reward_funcs"] = [{"name": name, "source": source} for name, source in graded.functions]
    notes.append(Note("reward_funcs", functions, "the grader, written as functions", "grader"))
    if len(functions) > 1:
        fields["reward_weights"] = list(graded.weights)
        notes.append(Note("reward_weights", list(graded.weights), "calculate_output of the grader", "grader"))
