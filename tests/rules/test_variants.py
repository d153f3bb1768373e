"""What the rules say beyond the one case that each has."""

from __future__ import annotations

from typing import Any

import pytest
from rules.case import base

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.planning.rules.columns import mapping_for
from hfjobs_trainer.planning.rules.job import OUR_LABELS
from hfjobs_trainer.planning.rules.rewards import script_names
from hfjobs_trainer.planning.rules.tracking import RESERVED_ENDS, RESERVED_START
from tests.planning.known_models import LLAMA_70B, QWEN_05B

NOTHING = Facts()


def columns(*names: str) -> Facts:
    return Facts(dataset=DatasetFacts(exists=True, columns=names, splits=("train",)))


def account(**facts: Any) -> Facts:
    return Facts(account=AccountFacts(**facts))


def said(code: str, fields: dict[str, Any], facts: Facts = NOTHING, backend: str = "hub") -> list[tuple[str, str]]:
    report = hft.check(base(fields), facts=facts, backend=backend)
    return [(problem.why, problem.fix) for problem in report.problems if problem.code == code]


def apart(flavor: str, strategy: str = "auto", **fields: Any) -> dict[str, Any]:
    """A run on two nodes, of which the second serves with vLLM."""
    hardware = {"flavor": flavor, "nodes": 2, "strategy": strategy}
    return {"method": "grpo", "use_vllm": True, "vllm_mode": "server", "hardware": hardware, **fields}


# (code, fields, facts, what is said)
SAID: list[tuple[str, dict[str, Any], Facts, list[tuple[str, str]]]] = [
    (
        "DATA004",
        {},
        columns("instruction", "input", "output"),
        [
            (
                "SFT needs messages, text, prompt and completion, conversations or input_ids; me/data has instruction,"
                " input, output. Only one column can become the prompt: join instruction and input first where both"
                " matter",
                'dataset=hft.Dataset(id="me/data", columns={"instruction": "prompt", "output": "completion"})',
            )
        ],
    ),
    (
        "DATA004",
        {"method": "dpo"},
        columns("conversations"),
        [
            (
                "DPO needs chosen and rejected; me/data has conversations. conversations holds one answer; preferences"
                " need two, a better and a worse one",
                "another dataset, or one whose columns you have built",
            )
        ],
    ),
    (
        "DATA004",
        {"method": "grpo"},
        columns("messages"),
        [
            (
                "GRPO needs prompt; me/data has messages. Build prompt from messages: the conversation without its"
                " last answer",
                "another dataset, or one whose columns you have built",
            )
        ],
    ),
    (
        "TUNE005",
        {"attn_implementation": "flash_attention_2"},
        NOTHING,
        [("flash-attn has no wheel for the pinned torch", '"sdpa", which uses the same algorithm')],
    ),
    (
        "TUNE005",
        {"attn_implementation": "kernels-community/flash-attn2", "extra_dependencies": ["kernels"]},
        NOTHING,
        [
            (
                "kernels from the Hub need kernels>=0.18.2,<0.19, and no such version is asked for",
                '"sdpa", or leave it out; or extra_dependencies=["kernels>=0.18.2,<0.19"], once there is one',
            )
        ],
    ),
    (
        "HUB001",
        {"lora": {"adapter": "./sft"}, "namespace": "me"},
        Facts(adapter=ModelFacts(exists=True)),
        [
            (
                "./sft is on this machine, where a job cannot read it",
                'hf upload me/sft ./sft --private, then adapter="me/sft"',
            )
        ],
    ),
    (
        "HUB002",
        {"lora": {"adapter": "me/sft"}},
        Facts(model=ModelFacts(exists=True), dataset=DatasetFacts(exists=True), adapter=ModelFacts(exists=False)),
        [
            (
                "the Hub has no model me/sft",
                "check the spelling; a folder here is written ./me/sft, a private repository needs your token",
            )
        ],
    ),
    (
        "HUB003",
        {"lora": {"adapter": "bad id!/x y"}},
        NOTHING,
        [('"bad id!/x y" is no id of a repository', "namespace/name, or ./bad id!/x y for a folder here")],
    ),
    # 14 heads go on two GPUs, not on four
    (
        "NODE005",
        apart("a100x4"),
        Facts(model=QWEN_05B),
        [
            (
                "2 of the 4 GPUs of the last node, which serves, would idle: vLLM spreads the 14 attention heads over 2"
                " at most",
                'nodes=1, where the server takes only GPUs that it uses, or "colocate"',
            )
        ],
    ),
    (
        "NODE005",
        apart("a100x4"),
        NOTHING,
        [
            (
                "3 of the 4 GPUs of the last node, which serves, would idle: the model's attention heads are unknown",
                "set it",
            )
        ],
    ),
    ("NODE005", apart("a100x4"), Facts(model=LLAMA_70B), []),
    ("NODE005", apart("a100x4", vllm_server_host="gpu7"), Facts(model=QWEN_05B), []),
    ("VLLM004", apart("a100-large"), Facts(model=QWEN_05B), []),
    (
        "VLLM004",
        apart("a100x4", vllm_tensor_parallel_size=8),
        Facts(model=LLAMA_70B),
        [
            (
                "the server has a node of its own with 4 of the 8 GPUs that it is given",
                "leave it out: all GPUs of that node serve",
            )
        ],
    ),
    (
        "VLLM007",
        apart("a10g-largex2", lora={}, quantization="4bit"),
        Facts(model=LLAMA_70B),
        [
            (
                "65.7 GiB of weights come on each of 2 GPUs of a10g-largex2, of which the server takes 20.0 GiB",
                "more of them, or hardware with larger GPUs",
            )
        ],
    ),
    # one node trains, the other one serves
    ("NODE002", apart("l4x1", strategy="single"), NOTHING, []),
    ("NODE003", apart("l4x1", eval_fraction=0.1, eval_strategy="steps", load_best_model_at_end=True), NOTHING, []),
    ("DATA004", {"dataset_text_field": "story"}, columns("story"), []),
    ("DATA004", {"method": "dpo"}, columns("chosen", "rejected"), []),
    ("DATA004", {}, columns("conversations"), []),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "columns": {"a": "text", "b": "text"}}},
        columns("a", "b"),
        [("two columns would be called text", "give each column a name of its own")],
    ),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "columns": {"content": "text"}}},
        columns("text", "content"),
        [("me/data has a column text already", 'columns={"text": "old_text", "content": "text"}')],
    ),
    ("DATA005", {"dataset": {"id": "me/data", "columns": {"a": "b", "b": "a"}}}, columns("a", "b", "text"), []),
    ("DATA010", {"dataset": {"id": "me/data", "split": "all"}}, columns("text"), []),
    (
        "GRPO014",
        {"method": "grpo", "reward_funcs": "accuracy_reward"},
        columns("question", "answer"),
        [
            (
                "accuracy_reward needs a column solution of me/data; it has question, answer",
                'columns={"answer": "solution"}',
            )
        ],
    ),
    (
        "GRPO001",
        {"method": "grpo", "per_device_train_batch_size": 3, "hardware": "a10g-largex4"},
        NOTHING,
        [
            (
                "8 answers to each prompt do not divide the 12 generated at once: 3 per device x 4 GPUs x 1 step",
                "num_generations=6, or per_device_train_batch_size=4",
            )
        ],
    ),
    (
        "GRPO001",
        {"method": "grpo", "per_device_train_batch_size": 2, "hardware": "a10g-largex4"},
        NOTHING,
        [],
    ),
    (
        "GRPO001",
        {"method": "grpo", "per_device_train_batch_size": 1, "hardware": "a10g-large"},
        NOTHING,
        [
            (
                "8 answers to each prompt do not divide the 1 generated at once: 1 per device x 1 GPU x 1 step",
                "per_device_train_batch_size=8",
            )
        ],
    ),
    (
        "GRPO001",
        {"method": "grpo", "generation_batch_size": 12, "hardware": "a10g-large"},
        NOTHING,
        [
            ("12 is no multiple of 8 per device on 1 GPU", "generation_batch_size=8"),
            ("8 answers to each prompt do not divide generation_batch_size=12", "num_generations=6"),
        ],
    ),
    (
        "GRPO001",
        {"method": "grpo", "global_batch_size": 6, "hardware": "a10g-large", "steps_per_generation": 4},
        NOTHING,
        [],
    ),
    (
        "BATCH001",
        {"global_batch_size": 64, "gradient_accumulation_steps": 2, "hardware": "a10g-largex2"},
        NOTHING,
        [
            (
                "8 per device on 2 GPUs and 2 accumulation steps make 32, not 64",
                "leave out gradient_accumulation_steps, or global_batch_size",
            )
        ],
    ),
    ("BATCH001", {"global_batch_size": 64, "gradient_accumulation_steps": 4, "hardware": "a10g-largex2"}, NOTHING, []),
    (
        "LORA001",
        {"lora": {"target_modules": ".*"}},
        NOTHING,
        [("matches lm_head, on which an adapter would not be trained", '"all-linear", which leaves it out')],
    ),
    (
        "LORA001",
        {"lora": {"target_modules": "("}},
        NOTHING,
        [
            (
                "is no regular expression: missing ), unterminated subpattern at position 0",
                'a list of names, or "all-linear"',
            )
        ],
    ),
    ("LORA001", {"lora": {"target_modules": "all-linear"}}, NOTHING, []),
    (
        "HW003",
        {"hardware": {"max_usd_per_hour": 0.5}},
        Facts(model=QWEN_05B),
        [("no flavor fits; the closest, l4x1: $0.80/h is above max_usd_per_hour=0.5", "max_usd_per_hour above 0.5")],
    ),
    ("HW004", {}, Facts(model=LLAMA_70B), []),
    (
        "HW006",
        {"hardware": {"flavor": "a10g-large", "strategy": "ddp"}},
        NOTHING,
        [("a10g-large has one GPU only", '"auto", or a flavor with several GPUs')],
    ),
    (
        "HW006",
        {"hardware": {"strategy": "user"}},
        NOTHING,
        [("neither fsdp nor deepspeed is given", '"auto", or fsdp=..., or deepspeed={...}')],
    ),
    (
        "SEC004",
        {"report_to": "none"},
        account(has_token=True, problem="the Hub does not accept this token"),
        [
            (
                "the Hub does not accept this token; starting the job needs one",
                "hf auth login, or set HF_TOKEN in your environment",
            )
        ],
    ),
    (
        "SEC004",
        {},
        account(has_token=True, name="me", token_role="read"),
        [
            (
                "your Hub token can only read; starting the job needs one, and so does the script: it logs to a Space",
                "a token that may write, from https://huggingface.co/settings/tokens",
            )
        ],
    ),
    ("SEC004", {}, account(has_token=True, name="me", token_role="fineGrained"), []),
    (
        "SEC003",
        {"secrets": ["HF_TOKEN"], "report_to": "none"},
        Facts(model=ModelFacts(private=False, gated=True), dataset=DatasetFacts(private=False)),
        [],
    ),
    (
        "HUB004",
        {"namespace": "me/team"},
        account(name="me", organizations=()),
        [('"me/team" is no name of a user or organization', '"me"')],
    ),
    (
        "HUB004",
        {"namespace": "other"},
        account(name="me", organizations=()),
        [("other is neither me, whose token it is, nor an organization of yours", '"me"')],
    ),
    ("HUB004", {"namespace": "Team"}, account(name="me", organizations=("team",)), []),
    ("TRACK001", {"namespace": "me"}, NOTHING, []),
    ("TRACK001", {"report_to": "none"}, NOTHING, []),
    (
        "TRACK002",
        {"project": "..."},
        NOTHING,
        [('trackio keeps nothing of "..."', 'a name with letters, such as "chat"')],
    ),
    (
        "TRACK002",
        {"project": "registry-mine"},
        NOTHING,
        [('trackio reserves names that begin with "registry-"', '"mine"')],
    ),
    (
        "TRAIN001",
        {"eval_fraction": 0.1, "load_best_model_at_end": True, "eval_strategy": "epoch"},
        NOTHING,
        [
            (
                'load_best_model_at_end needs it to equal save_strategy, which is "steps"',
                'save_strategy="epoch", or save_strategy="best"',
            )
        ],
    ),
    (
        "TRAIN001",
        {"eval_fraction": 0.1, "load_best_model_at_end": True, "eval_strategy": "steps", "save_steps": 25},
        NOTHING,
        [
            (
                "load_best_model_at_end needs a multiple of eval_steps, which is 10",
                'save_steps=20, or save_strategy="best"',
            )
        ],
    ),
    (
        "TRAIN001",
        {
            "eval_fraction": 0.1,
            "load_best_model_at_end": True,
            "eval_strategy": "steps",
            "eval_steps": 0.1,
            "save_steps": 0.3,
        },
        NOTHING,
        [],
    ),
    ("DATA003", {"eval_dataset": {"id": "me/data", "split": "test"}}, NOTHING, []),
    (
        "DATA003",
        {"eval_dataset": "me/data"},
        NOTHING,
        [("these rows are trained on as well", "eval_fraction=0.1, or another split")],
    ),
    (
        "JOB002",
        {"timeout": 4, "timeout_padding": 0.0},
        NOTHING,
        [
            (
                "4s (4 s with padding) is under 300 s, too short to start in",
                'timeout="4h" if you mean hours, at least timeout="5m"',
            )
        ],
    ),
    (
        "HW001",
        {"hardware": "abacus"},
        NOTHING,
        [('Hugging Face Jobs offers no "abacus" (snapshot 2026-08-22)', '"auto"; hft.hardware_table() lists them all')],
    ),
]


@pytest.mark.parametrize(("code", "fields", "facts", "expected"), SAID)
def test_variant(code: str, fields: dict[str, Any], facts: Facts, expected: list[tuple[str, str]]) -> None:
    assert said(code, fields, facts) == expected


def test_what_was_found_counts_although_a_fact_is_missing() -> None:
    report = hft.check(
        base({"eval_dataset": "me/other"}), facts=Facts(dataset=DatasetFacts(exists=True, columns=("a", "b")))
    )
    assert [problem.path for problem in report.problems if problem.code == "DATA004"] == ["dataset"]
    assert [item.needs for item in report.unchecked if item.code == "DATA004"] == ["the columns of me/other"]


@pytest.mark.parametrize("end", RESERVED_ENDS)
def test_reserved_ends_are_trackios(end: str) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    assert len(said("TRACK002", {"project": f"x{end}"})) == 1
    with pytest.raises(ValueError, match="reserved"):
        SQLiteStorage.validate_project_name(f"x{end}")


@pytest.mark.parametrize("name", [f"{RESERVED_START}x", "x_system", "system", "_system", "a.b", "日本"])
def test_trackio_agrees_on_projects(name: str) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    refused = said("TRACK002", {"project": name}) != []
    try:
        SQLiteStorage.validate_project_name(name)
    except ValueError:
        assert refused
    else:
        assert not refused


def test_trackio_reserves_no_more() -> None:
    from trackio.sqlite_storage import SQLiteStorage

    tables = ("system", "configs", "traces", *SQLiteStorage._ARTIFACT_PARQUET_TABLES)
    assert {f"_{table}" for table in tables} == set(RESERVED_ENDS)


@pytest.mark.parametrize("key", sorted(OUR_LABELS))
def test_our_labels_are_not_the_users(key: str) -> None:
    assert said("JOB003", {"labels": {key: "x"}}) == [(f'the label "{key}" is set by this package', "another name")]


def test_labels_that_a_plan_sets_are_ours() -> None:
    plan = hft.plan(base({"tracking": {"group": "g"}}), facts=NOTHING)
    assert plan.request.labels.keys() <= OUR_LABELS


def test_names_of_the_script_are_taken() -> None:
    assert {"main", "MODEL", "report", "relaunch", "push", "track", "os", "sys", "time", "Path"} <= script_names()


@pytest.mark.parametrize(
    ("wanted", "columns", "mapping"),
    [
        (("prompt", "completion"), ("question", "answer"), {"question": "prompt", "answer": "completion"}),
        (("chosen", "rejected"), ("prompt", "chosen", "bad"), {"bad": "rejected"}),
        (("messages",), ("Conversation",), {"Conversation": "messages"}),
        (("prompt",), ("prompts",), {"prompts": "prompt"}),
        (("text",), ("label",), None),
        (("text",), ("text",), {}),
    ],
)
def test_a_mapping_is_proposed(
    wanted: tuple[str, ...], columns: tuple[str, ...], mapping: dict[str, str] | None
) -> None:
    assert mapping_for(wanted, columns) == mapping


def test_an_adapter_that_is_not_here() -> None:
    facts = Facts(adapter=ModelFacts(exists=False))
    assert said("DATA006", {"lora": {"adapter": "./nope"}}, facts, "local") == [
        ("there is no ./nope on this machine", "check the path")
    ]


def test_a_private_adapter_needs_the_token() -> None:
    spec = base({"lora": {"adapter": "me/sft"}, "report_to": "none", "output": {"push_to_hub": False}})
    for private in (True, False):
        plan = hft.plan(spec, facts=Facts(adapter=ModelFacts(exists=True, private=private)))
        assert ("HF_TOKEN" in plan.request.secrets) is private
