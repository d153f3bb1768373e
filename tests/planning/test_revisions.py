"""What a script reads of the Hub is named by commits, so that a resume and a re-run see the same bytes."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.trying.smoke import settings_of

MODEL, DATA, TEST, TEACHER, REFERENCE, SCORER, VALUE, TOKENIZER, ADAPTER, PART, JUDGE = (
    f"{number:x}" * 40 for number in range(1, 12)
)

LOADERS = {"from_pretrained", "load_dataset", "LoraConfig"}


def model(sha: str) -> ModelFacts:
    return ModelFacts(exists=True, sha=sha, model_type="qwen2", has_chat_template=True)


def data(sha: str, *parts: DatasetFacts) -> DatasetFacts:
    return DatasetFacts(exists=True, sha=sha, num_rows=100, mixed_with=parts)


FACTS = Facts(
    account=AccountFacts(has_token=True, name="me"),
    model=model(MODEL),
    dataset=data(DATA, data(PART)),
    eval_dataset=data(TEST),
    teacher=model(TEACHER),
    ref_model=model(REFERENCE),
    reward_model=model(SCORER),
    value_model=model(VALUE),
    processing_class=model(TOKENIZER),
    adapter=model(ADAPTER),
    reward_models=(model(JUDGE),),
)


def written(fields: dict[str, Any], facts: Facts = FACTS) -> hft.Plan:
    return hft.plan({"model": "me/base", "dataset": "me/rows", **fields}, facts=facts)


def revisions(script: str) -> list[str | None]:
    """The revision of each load in ``main``; ``None`` where one has none."""
    main = next(node for node in ast.parse(script).body if isinstance(node, ast.FunctionDef) and node.name == "main")
    found: list[str | None] = []
    for node in ast.walk(main):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name in LOADERS:
            named = [ast.literal_eval(word.value) for word in node.keywords if word.arg == "revision"]
            found.append(named[0] if named else None)
    return found


CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "tokenizer, adapter, mixture, evaluation set": (
        {
            "method": "sft",
            "dataset": ["me/rows", "me/more"],
            "eval_dataset": "me/test",
            "eval_strategy": "epoch",
            "processing_class": "me/tokenizer",
            "lora": hft.LoRA(adapter="me/adapter"),
        },
        {MODEL, DATA, PART, TEST, TOKENIZER, ADAPTER},
    ),
    "merged": (
        {"method": "sft", "lora": hft.LoRA(), "output": {"hub_model_id": "me/out", "merge_adapter": True}},
        {MODEL, DATA},
    ),
    "reference": ({"method": "dpo", "ref_model": "me/reference"}, {MODEL, DATA, REFERENCE}),
    "teacher": ({"method": "distillation", "teacher_model": "me/teacher"}, {MODEL, DATA, TEACHER}),
    "judge": ({"method": "grpo", "reward_funcs": ["me/judge"]}, {MODEL, DATA, JUDGE}),
    "scores": (
        {"method": "ppo", "reward_model": "me/scorer", "value_model": "me/value"},
        {MODEL, DATA, SCORER, VALUE},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_load_names_a_commit(case: str) -> None:
    fields, commits = CASES[case]

    plan = written(fields)

    assert set(plan.revisions.values()) == commits
    assert None not in revisions(plan.script)
    assert commits <= {each for each in commits if f'"{each}"' in plan.script}
    assert {item.path: item.value for item in plan.decisions}.items() >= plan.revisions.items()


def test_several_processes_fetch_the_same_commits_ahead() -> None:
    plan = written({"method": "grpo", "reward_funcs": ["me/judge"], "hardware": "a10g-largex4"})

    assert f'models={{MODEL: "{MODEL}", "me/judge": "{JUDGE}"}}' in " ".join(plan.script.split()).replace(
        "models={ ", "models={"
    ).replace(", }", "}")


def test_a_branch_is_resolved_and_the_plan_says_to_what() -> None:
    plan = written({"method": "sft", "model_revision": "v1.1"})

    (decision,) = (item for item in plan.decisions if item.path == "model_revision")
    assert (decision.value, decision.why) == (MODEL, "v1.1 at 1111111")
    # what was asked for stays the spec, by which runs are compared
    assert plan.spec == hft.SFT(model="me/base", dataset="me/rows", model_revision="v1.1")
    assert '"model_revision": "v1.1"' in plan.script
    assert settings_of(plan, asks=False)["models"]["MODEL"]["revision"] == MODEL


def test_nothing_is_made_up() -> None:
    named = written({"method": "sft", "model_revision": MODEL})
    unknown = written({"method": "sft"}, replace(FACTS, model=ModelFacts(), dataset=DatasetFacts()))
    missing = replace(FACTS, dataset=replace(FACTS.dataset, exists=False))

    assert "model_revision" not in named.revisions
    assert unknown.revisions == {}
    assert set(revisions(unknown.script)) == {None}
    assert set(written({"method": "sft"}, missing).revisions) == {"model_revision"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_without_facts_a_script_is_as_it_was(name: str) -> None:
    assert hft.plan(EXAMPLES[name](), facts=Facts()).revisions == {}
