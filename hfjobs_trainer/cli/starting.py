"""``hft init``: a spec file to start from, with recommended values and where they are from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hfjobs_trainer.specs.registry import METHODS

if TYPE_CHECKING:
    from hfjobs_trainer.planning.recommend import Recommendation
    from hfjobs_trainer.specs.base import TrainSpec

_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
_STAND_INS: dict[str, Any] = {
    "model": _MODEL,
    "dataset": "username/dataset",
    "reward_funcs": ["accuracy_reward"],
    "reward_model": "username/reward-model",
    "teacher_model": "Qwen/Qwen2.5-1.5B-Instruct",
}
"""What stands in a new file for what only its author knows, by field."""


@click.command()
@click.argument("method", type=click.Choice(tuple(METHODS)))
@click.option("--model", default=_MODEL, show_default=True, help="The model to train.")
@click.option("--dataset", default=_STAND_INS["dataset"], show_default=True, help="A dataset of the Hub, or a path.")
@click.option("--full", is_flag=True, help="Train all weights, rather than an adapter.")
def init(method: str, model: str, dataset: str, full: bool) -> None:
    """Write a commented spec file for a training method, with starting values from published recipes.

    \b
      hft init dpo > dpo.yaml
      hft init grpo --model Qwen/Qwen3-1.7B --dataset username/prompts > grpo.yaml
    """  # noqa: D301
    click.echo(starting_file(method, model, dataset, adapter=not full), nl=False)


def starting_file(method: str, model: str, dataset: str, *, adapter: bool) -> str:
    """The text of a spec file to start from, YAML.

    Args:
        method: The training method.
        model: The model to train.
        dataset: The dataset.
        adapter: Whether to train an adapter, or else all weights.
    """
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.recommend import recommend
    from hfjobs_trainer.specs.groups import LoRA

    spec_class = METHODS[method]
    given = {"model": model, "dataset": dataset}
    needed = [name for name, field in spec_class.model_fields.items() if field.is_required() and name not in given]
    given |= {name: _STAND_INS[name] for name in (*needed, *spec_class.missing(given))}
    spec = spec_class(**given, **({"lora": LoRA()} if adapter else {}))
    found = recommend(spec, Facts())
    lines = [
        f"# {spec_class.METHOD.label} with TRL {spec.TRL_VERSION} on Hugging Face Jobs.",
        f"# `hft check {method}.yaml` says what is wrong, `hft plan {method}.yaml` what it costs; then `hft submit`.",
        "# Every argument of the trainer's config may stand here under its own name.",
        f"method: {method}",
        "",
        *(_line(name, given[name], _about(spec, name)) for name in given),
        "",
        *_values(found),
        "",
        "# Without an evaluation set nobody sees whether it learns or only memorizes.",
        _line("eval_fraction", 0.05, "share of the rows; eval_dataset names a set of its own"),
        _line("eval_strategy", "steps", 'or "epoch"'),
        _line("eval_steps", 0.1, "share of all steps"),
        "",
        "output:",
        _line("  hub_model_id", "username/my-model", "where the trained model goes; private unless you say otherwise"),
        "",
        "# Left out, these are chosen for you, and `hft plan` says why:",
        "# hardware: a10g-large    # `hft hardware` lists them",
        "# timeout: 3h             # 25% is added",
        "# tracking: {project: my-project, group: first-tries}",
    ]
    return "\n".join(lines) + "\n"


def _values(found: Recommendation) -> list[str]:
    """The recommended values, those of a group below its name."""
    lines = [] if found.rows else [f"# {found.subject}"]
    group = source = ""
    for row in found.rows:
        owner, _, field = row.field.rpartition(".")
        if owner != group:
            group = owner
            lines += ["", f"{owner}:"]
        if row.source != source:
            source = row.source
            lines.append(f"{'  ' if owner else ''}# from {source}")
        lines.append(_line(f"  {field}" if owner else field, row.recommended, row.why))
    return lines


def _about(spec: TrainSpec, name: str) -> str:
    if name == "dataset":
        return f"with the columns {', '.join(spec.dataset_formats()[0])}"
    return {"model": "a model of the Hub, or a folder"}.get(name, "")


def _line(name: str, value: Any, comment: str) -> str:
    """One setting, its value as YAML reads it back, and a comment."""
    text = value if isinstance(value, str) and value.replace("/", "").replace("-", "").isalpha() else json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1 takes 5e-06 for text
    return f"{name}: {text}" + (f"  # {comment}" if comment else "")
