"""A plan says all that will be sent, is the same each time, and says what it does not know."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from textwrap import dedent
from typing import Any

import pytest
from huggingface_hub.cli._uv_script_header import parse_uv_script_header

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.facts.values import ValueFacts
from hfjobs_trainer.planning.plan import Decision

ME = AccountFacts(has_token=True, name="me", organizations=("org",), token_role="write")
QWEN = ModelFacts(
    exists=True,
    model_type="qwen2",
    num_parameters=494_032_768,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    vocab_size=151_936,
    tie_word_embeddings=True,
    dtype="bfloat16",
    has_chat_template=True,
)
SHORT = LengthFacts("tokens", sampled=100, mean=200.0, quantiles=(200.0,) * 20)
CHATS = DatasetFacts(
    exists=True, columns=("messages",), num_rows=15_806, splits=("train", "test"), lengths=SHORT, values=ValueFacts(512)
)
KNOWN = Facts(model=QWEN, dataset=CHATS, account=ME)
SFT: dict[str, Any] = {"method": "sft", "model": "Qwen/Qwen2.5-0.5B", "dataset": "trl-lib/Capybara"}


def plan(fields: dict[str, Any], facts: Facts = KNOWN, backend: str = "hub") -> hft.Plan:
    return hft.plan({**SFT, **fields}, facts=facts, backend=backend)


def example(name: str) -> tuple[Any, Facts]:
    """An example spec, and facts by which it can run."""
    spec = EXAMPLES[name]()
    data = replace(CHATS, columns=spec.dataset_formats()[0], conversational=False)
    beside: dict[str, Any] = {"teacher": QWEN, "reward_model": QWEN, "value_model": QWEN, "reward_models": (QWEN,)}
    held_out = replace(data, num_rows=500)
    facts = Facts(model=QWEN, dataset=data, eval_dataset=held_out, account=replace(ME, name="username"), **beside)
    return spec, facts


def decided(plan: hft.Plan) -> dict[str, Any]:
    return {item.path: item.value for item in plan.decisions}


FULL: dict[str, Any] = {
    "hardware": "a10g-largex2",
    "timeout": "3h",
    "global_batch_size": 32,
    "push_to_hub": True,
    "lora": {"r": 8},
    "learning_rate": 2e-4,
    "tracking": {"group": "first tries"},
}


def test_a_plan_as_text() -> None:
    facts = replace(KNOWN, model=ModelFacts(exists=True))
    assert str(plan(FULL, facts)) == dedent("""\
        SFT of Qwen/Qwen2.5-0.5B (LoRA r=8) on trl-lib/Capybara, split train
          where          a10g-largex2 on Hugging Face Jobs: 2 x NVIDIA A10G, $3.00/h (snapshot 2026-08-22), paid by me
          time           timeout 3h45m: at most $11.25
          memory         unknown: the model's size is not known
          checkpoints    bucket me/hft-checkpoints
          model goes to  me/Qwen2.5-0.5B-SFT (private)
          metrics go to  trackio project Qwen2-5-0-5B-SFT, group first tries, Space me/trackio
          secrets        HF_TOKEN (read when you submit)
        chosen for you
          output_dir                  = Qwen2.5-0.5B-SFT  (named after the model and the method)
          bf16                        = True  (TRL's default)
          dtype                       = bfloat16  (the base model is frozen: half the memory at no loss)
          hardware.strategy           = ddp  (each GPU holds a copy of the model)
          ddp_timeout                 = 7200  (seconds that processes wait for another to load, tokenize or save)
          per_device_train_batch_size = 8  (the largest up to TRL's default of 8 that divides the global batch)
          gradient_accumulation_steps = 2  (32 sequences per optimizer step, 8 at a time on 2 GPUs)
          optim                       = adamw_torch_fused  (TRL's default: one kernel updates all parameters)
          lora.target_modules         = all-linear  (every linear layer but the head)
          output.hub_model_id         = me/Qwen2.5-0.5B-SFT  (namespace and name of output_dir)
          output.private              = True  (nothing is published unless you say so)
          tracking.project            = Qwen2-5-0-5B-SFT  (named after the model)
          tracking.space_id           = me/trackio  (your dashboard, kept after the machine is gone)
          output.checkpoints          = bucket  (private, kept until the model is pushed)
          timeout                     = 13500 s  (your 10800 s plus 25% of padding)
        not asked
          the Hub, since facts= was given; hft.plan(spec) asks it
        unchecked
          LORA005: unknown: the names of the modules of Qwen/Qwen2.5-0.5B (not asked)
          LORA006: unknown: the names of the modules of Qwen/Qwen2.5-0.5B (not asked)
          MODEL001, MODEL002, MODEL004, MODEL006 and MODEL011: unknown: the files of Qwen/Qwen2.5-0.5B (not asked)
          MEM001: unknown: the size of Qwen/Qwen2.5-0.5B (not asked)
          MEM002: unknown: the size of Qwen/Qwen2.5-0.5B (not asked)""")


def test_a_plan_for_this_machine_as_text() -> None:
    fields = {"report_to": "none", "bf16": False, "dtype": "float32", "output_dir": "out"}
    assert str(plan(fields, Facts(), "local")) == dedent("""\
        SFT of Qwen/Qwen2.5-0.5B (all weights) on trl-lib/Capybara, split train
          where          this machine
          time           no timeout
          memory         unknown: the model's size is not known
          checkpoints    the machine's disk
          model goes to  the machine's disk only
          metrics go to  the log only
        chosen for you
          optim = adamw_torch_fused  (TRL's default: one kernel updates all parameters)
        not asked
          the Hub, since facts= was given; hft.plan(spec, backend="local") asks it
        unchecked
          DATA004: unknown: the columns of trl-lib/Capybara (not asked)
          DATA010: unknown: the splits of trl-lib/Capybara (not asked)
          DATA011: unknown: how many tokens the rows of trl-lib/Capybara have (not asked)
          DATA013 to DATA021, DATA025 and DATA026: unknown: the rows of trl-lib/Capybara (not asked)
          DATA028: unknown: the columns of trl-lib/Capybara (not asked)
          DATA030: unknown: the rows of trl-lib/Capybara (not asked)
          DATA033: unknown: the rows of trl-lib/Capybara (not asked)
          MODEL001, MODEL002, MODEL004 and MODEL006: unknown: the files of Qwen/Qwen2.5-0.5B (not asked)
          SFT004: unknown: the columns of trl-lib/Capybara (not asked)
          TUNE009: unknown: the config.json of Qwen/Qwen2.5-0.5B (not asked)
          VIS001: unknown: the columns of trl-lib/Capybara (not asked)""")


def test_problems_are_in_the_text() -> None:
    facts = replace(KNOWN, account=AccountFacts(), dataset=replace(CHATS, num_rows=None))
    text = str(plan({"report_to": "none", "hardware": "a10g-large"}, facts))
    assert "problems\n  HUB005 " in text
    assert "\n  JOB001 timeout: is needed" in text
    assert '\n      fix: timeout="3h"' in text


def test_the_memory_estimate_is_in_the_text() -> None:
    made = plan({**FULL, "hardware": "auto"})
    assert made.estimate is not None
    peak, *components = str(made.estimate.memory).splitlines()
    assert f"  memory         {peak}: fits in " in str(made)
    assert components
    assert not any(line in str(made) for line in components)
    assert made.choice is not None
    assert made.flavor is not None
    assert decided(made)["hardware.flavor"] == made.flavor.name


def test_names_cannot_move_the_cursor() -> None:
    text = str(plan({**FULL, "tracking": {"project": "x", "group": "\x1b[2J\ngone\u202e"}}))
    assert "group \\x1b[2J\\ngone\\u202e" in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("backend", ["hub", "local"])
def test_the_same_plan_each_time(name: str, backend: str) -> None:
    made = [hft.plan(example(name)[0], facts=example(name)[1], backend=backend) for _ in range(2)]
    # that transformers writes answers slowly is a warning, and true of this example
    slow = {"train_online_dpo_example"} if backend == "hub" else set[str]()
    # so is that their timeout is within the range of the estimate
    seconds, limit = made[0].estimate.seconds if made[0].estimate else None, made[0].timeout_seconds
    early = ["COST003"] if seconds is not None and limit is not None and seconds.high > limit else []
    assert [problem.code for problem in made[0].problems] == early + (["COST004"] if name in slow else [])
    assert made[0].unchecked == ()
    assert made[0] == made[1]
    assert str(made[0]) == str(made[1])
    assert made[0].script == hft.render(made[0].spec, facts=example(name)[1], backend=backend)
    assert made[0].script == made[0].request.script
    assert made[0].timeout_seconds == made[0].request.timeout_seconds
    with pytest.raises(dataclasses.FrozenInstanceError):
        made[0].flavor = None  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_sent_is_what_the_script_says(name: str) -> None:
    spec, facts = example(name)
    made = hft.plan(spec, facts=facts)
    request, launch = made.request, parse_uv_script_header(made.script)
    assert launch is not None
    assert (launch.flavor, launch.name, launch.image) == (request.flavor, request.name, request.image)
    assert (launch.namespace, launch.timeout) == (request.namespace, f"{request.timeout_seconds}s")
    assert (launch.env, launch.secrets, launch.labels) == (request.env, list(request.secrets), request.labels)
    assert request.labels["method"] == made.spec.method
    assert made.spec.digest.startswith(request.labels["spec"])


def test_here_and_there_differ_in_what_they_must() -> None:
    fields = {**FULL, "extra_dependencies": ["einops"], "env": {"LEVEL": "1"}}
    there, here = plan(fields), plan(fields, backend="local")
    assert (there.flavor is None, here.flavor is None) == (False, True)
    assert (there.choice is None, here.choice is None) == (False, True)
    assert "UV_TORCH_BACKEND" in there.request.env
    assert "UV_TORCH_BACKEND" not in here.request.env
    assert here.request.env["LEVEL"] == there.request.env["LEVEL"] == "1"
    assert "tracking.space_id" in decided(there)
    assert "tracking.space_id" not in decided(here)
    assert here.problems == here.unchecked == ()
    assert here.request.labels == there.request.labels
    assert "require_gpus(machine, planned=2)" in there.script
    assert "require_gpus" not in here.script


def test_local_paths_become_absolute_here_only() -> None:
    facts = replace(KNOWN, model=replace(QWEN, path="/data/model"), dataset=replace(CHATS, path="/data/train.jsonl"))
    facts = replace(facts, chat_template=ModelFacts(path="/data/chat.jinja", exists=True))
    fields = {"model": "./model", "dataset": "./train.jsonl", "report_to": "none"}
    here = plan({**fields, "chat_template_path": "chat.jinja"}, facts, "local")
    assert 'MODEL = "/data/model"\nDATASET = "/data/train.jsonl"\n' in here.script
    assert 'chat_template_path="/data/chat.jinja"' in here.script
    there = plan({**fields, "hardware": "a10g-large", "timeout": "1h", "hub_model_id": "me/x"}, facts)
    assert 'MODEL = "./model"\n' in there.script
    assert {problem.code for problem in there.problems} == {"HUB001"}
    with pytest.raises(hft.SpecError, match="HUB001"):
        hft.submit(there)


def test_what_nobody_could_find_out_is_said() -> None:
    made = plan({"timeout": "1h", "report_to": "none", "hub_model_id": "me/x"}, Facts())
    assert made.flavor is None
    assert made.request.flavor is None
    assert made.estimate is None
    assert "flavor" not in made.script.split("# ///\n")[0]
    needs = {item.code: item.needs for item in made.unchecked}
    assert needs["DATA004"] == "the columns of trl-lib/Capybara"
    assert needs["HUB002"] == "whether the Hub has Qwen/Qwen2.5-0.5B"
    assert needs["HW004"] == "the size of Qwen/Qwen2.5-0.5B"
    assert made.problems == ()
    assert "no flavor could be chosen: set hardware" in str(made)
    with pytest.raises(hft.NotAsked, match="facts= was given, which does not say which flavor"):
        hft.submit(made)


@pytest.mark.parametrize(
    ("fields", "facts", "secrets"),
    [
        ({"report_to": "none"}, KNOWN, ()),
        ({"report_to": "none", "hub_model_id": "me/x"}, KNOWN, ("HF_TOKEN",)),
        ({"tracking": {"space_id": "me/space"}}, KNOWN, ("HF_TOKEN",)),
        ({"report_to": "none"}, replace(KNOWN, model=replace(QWEN, private=True)), ("HF_TOKEN",)),
        ({"report_to": "none"}, replace(KNOWN, model=replace(QWEN, gated=True)), ("HF_TOKEN",)),
        ({"report_to": "none"}, replace(KNOWN, dataset=replace(CHATS, private=True)), ("HF_TOKEN",)),
        (
            {"report_to": "none", "eval_dataset": "org/other"},
            replace(KNOWN, eval_dataset=replace(CHATS, gated=True)),
            ("HF_TOKEN",),
        ),
        ({"report_to": "none", "secrets": ["OTHER"], "hub_model_id": "me/x"}, KNOWN, ("OTHER", "HF_TOKEN")),
        ({"report_to": "none", "secrets": ["HF_TOKEN"], "hub_model_id": "me/x"}, KNOWN, ("HF_TOKEN",)),
    ],
)
def test_the_token_goes_along_only_where_it_is_needed(
    fields: dict[str, Any], facts: Facts, secrets: tuple[str, ...]
) -> None:
    made = plan({"hardware": "a10g-large", "timeout": "1h", **fields}, facts)
    assert made.request.secrets == secrets
    # the spec's own secrets stand in its block at the end as well
    header, _ = made.script.split('"""', 1)
    assert ('"HF_TOKEN"' in header) == ("HF_TOKEN" in secrets)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"timeout": "3h"}, 13_500),
        ({"timeout": 5400}, 6750),
        ({"timeout": "1h", "timeout_padding": 0.0}, 3600),
        ({"timeout": 1001, "timeout_padding": 0.5}, 1502),
    ],
)
def test_the_timeout_is_padded(fields: dict[str, Any], seconds: int) -> None:
    assert plan({"hardware": "a10g-large", **fields}).timeout_seconds == seconds


def test_what_the_user_set_is_not_decided() -> None:
    fields: dict[str, Any] = {
        "hardware": "a10g-large",
        "timeout": "1h",
        "timeout_padding": 0.0,
        "output_dir": "out",
        "bf16": True,
        "dtype": "float32",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True,
        "optim": "adamw_torch_fused",
        "output": {"hub_model_id": "me/x", "private": False, "checkpoints": "bucket"},
        "save_steps": 500,
        "tracking": {"project": "p", "space_id": "me/s"},
    }
    assert plan(fields).decisions == ()


def test_a_namespace_pays_owns_and_names() -> None:
    made = plan({**FULL, "namespace": "org"})
    assert made.request.namespace == "org"
    assert decided(made)["output.hub_model_id"] == "org/Qwen2.5-0.5B-SFT"
    assert decided(made)["tracking.space_id"] == "org/trackio"
    spec = hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", timeout="1h", hardware="a10g-large")
    assert hft.Client(namespace="org").plan(spec, facts=KNOWN).request.namespace == "org"
    assert hft.Client(namespace="org").plan(spec.replace(namespace="me"), facts=KNOWN).request.namespace == "me"


def test_a_mapping_is_planned_and_checked_like_a_spec() -> None:
    fields = {**SFT, **FULL}
    spec = hft.METHODS["sft"](**{name: value for name, value in fields.items() if name != "method"})
    assert hft.plan(fields, facts=KNOWN) == hft.plan(spec, facts=KNOWN)
    assert hft.check(fields, facts=KNOWN) == hft.check(spec, facts=KNOWN)
    assert hft.check(fields, facts=KNOWN).ok


def test_checking_never_raises() -> None:
    for wrong in (
        None,
        3,
        [],
        {},
        {"method": 1},
        {**SFT, "model": None},
        {**SFT, 1: 2},
        {**SFT, "eval_strategy": "steps"},
    ):
        report = hft.check(wrong, facts=KNOWN)  # pyright: ignore[reportArgumentType]
        assert not report.ok
        with pytest.raises(hft.SpecError) as error:
            report.raise_for_problems()
        assert error.value.problems == report.problems
    assert Decision("a", 1, "why") in {Decision("a", 1, "why")}


def test_a_script_that_would_be_wrong_is_not_rendered() -> None:
    with pytest.raises(hft.SpecError, match="DATA001") as error:
        plan({**FULL, "eval_strategy": "steps"})
    assert error.value.subject == "SFT spec"
    assert hft.plan({**SFT, "eval_strategy": "steps", "eval_fraction": 0.1}, facts=KNOWN).script
