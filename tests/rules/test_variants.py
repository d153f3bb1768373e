"""What the rules say beyond the one case that each has."""

from __future__ import annotations

from typing import Any

import pytest
from rules.case import base

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.facts.shape import Misfit, Shape
from hfjobs_trainer.facts.values import Finding, ValueFacts
from hfjobs_trainer.gathering.mixture import mixed
from hfjobs_trainer.planning.labels import OUR_LABELS
from hfjobs_trainer.planning.rules.track import RESERVED_ENDS, RESERVED_START
from hfjobs_trainer.rendering.taken import taken_names
from hfjobs_trainer.specs.columns import mapping_for
from tests.planning.known_models import LLAMA_70B, QWEN_05B

NOTHING = Facts()
PINNED = f"rows.jsonl@sha256:{'0' * 64}"
BF16_ADAPTER = "TRL keeps the adapter of a quantized model in bfloat16, which fp16 arithmetic cannot train"
FP16_WEIGHTS = "fp16 arithmetic cannot train weights that are float16 themselves"
FLOAT32 = 'dtype="float32"'


def columns(*names: str) -> Facts:
    return Facts(dataset=DatasetFacts(exists=True, columns=names, splits=("train",)))


def mixture(first: DatasetFacts, *others: DatasetFacts) -> Facts:
    """What is gathered of a mixture: of its first dataset, with the others beside it."""
    return Facts(dataset=mixed([first, *others], [None] * (1 + len(others))))


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
        "RESUME005",
        {"method": "grpo", "num_iterations": 4, "max_steps": 95, "save_steps": 0.1, "timeout": "3h"},
        NOTHING,
        [
            (
                "at step 10 completions wait to be used: the run goes on only from a checkpoint every 20 steps",
                "save_steps=12",
            )
        ],
    ),
    (
        "HUB001",
        {"dataset": "./photos"},
        Facts(dataset=DatasetFacts(path="/home/me/photos", exists=True, saved=False)),
        [
            (
                "./photos is on this machine, where a job cannot read it: push it, and give its id",
                "hf upload photos ./photos --repo-type dataset --private",
            )
        ],
    ),
    (
        "HUB001",
        {"dataset": PINNED},
        Facts(dataset=DatasetFacts(path="/cache/rows.jsonl", exists=True)),
        [
            (
                f"{PINNED} is on this machine, where a job cannot read it: push it, and give its id",
                "hf upload rows /cache/rows.jsonl --repo-type dataset --private",
            )
        ],
    ),
    (
        "HUB001",
        {"model": "~/my models/it's", "dataset": "./my data.jsonl"},
        Facts(account=AccountFacts(name="me")),
        [
            (
                "~/my models/it's is on this machine, where a job cannot read it: push it, and give its id",
                """hf upload me/it-s ~/'my models/it'"'"'s' --private""",
            ),
            (
                "./my data.jsonl is on this machine, where a job cannot read it: push it, and give its id",
                "hf upload me/my-data './my data.jsonl' --repo-type dataset --private",
            ),
        ],
    ),
    ("TRAIN009", {"eval_steps": 50}, NOTHING, [('has no effect, since eval_strategy is "no"', "eval_steps=None")]),
    ("TRAIN009", {"eval_dataset": "me/test", "eval_on_start": True}, NOTHING, []),
    ("TRAIN009", {"method": "ppo", "eval_fraction": 0.1}, NOTHING, []),
    (
        "HUB001",
        {"method": "grpo", "reward_funcs": ["accuracy_reward", "./judge"]},
        NOTHING,
        [
            (
                "./judge is on this machine, where a job cannot read it: push it, and give its id",
                "hf upload judge ./judge --private",
            )
        ],
    ),
    (
        "HUB002",
        {"method": "grpo", "reward_funcs": ["me/jugde"]},
        Facts(reward_models=(ModelFacts(exists=False),)),
        [("the Hub has no model me/jugde, or does not show it to your token; a folder here is written ./me/jugde", "")],
    ),
    (
        "HW004",
        {"method": "grpo", "reward_funcs": ["me/judge"], "hardware": "auto"},
        Facts(model=QWEN_05B, reward_models=(ModelFacts(exists=True),)),
        [("no flavor can be chosen without the size of me/judge", 'hardware="a10g-large"')],
    ),
    (
        "MEM001",
        {"method": "grpo", "reward_funcs": ["me/judge"], "lora": {}, "hardware": "l4x1"},
        Facts(model=QWEN_05B, reward_models=(LLAMA_70B,)),
        [
            (
                "does not fit: needs about 133.7 GiB, a GPU of l4x1 has 22.2 GiB; "
                "no change that was tried makes it fit",
                "",
            )
        ],
    ),
    (
        "TUNE007",
        {"quantization": "8bit", "lora": {}, "fp16": True},
        NOTHING,
        [
            (
                BF16_ADAPTER,
                "fp16=None, bf16=None",
            )
        ],
    ),
    (
        "TUNE007",
        {"quantization": "4bit", "lora": {}, "fp16": True, "hardware": "t4-small"},
        NOTHING,
        [
            (
                BF16_ADAPTER,
                'fp16=None, bf16=None, hardware="l4x1"',
            )
        ],
    ),
    (
        "DATA004",
        {"method": "dpo", "dataset": {"id": "me/data", "keep_columns": ["chosen"]}},
        columns("chosen", "rejected"),
        [
            (
                "DPO needs chosen and rejected; me/data keeps chosen",
                'dataset=hft.Dataset(id="me/data", keep_columns=["chosen", "rejected"])',
            )
        ],
    ),
    ("SFT004", {"dataset": {"id": "me/data", "keep_columns": ["messages"]}}, columns("prompt", "messages"), []),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "keep_columns": ["nothere"]}},
        columns("messages"),
        [("me/data has no column nothere; it has messages", "")],
    ),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "keep_columns": ["messages"], "columns": {"conv": "messages"}}},
        columns("conv"),
        [
            (
                "me/data has no column messages; it has conv",
                'dataset=hft.Dataset(id="me/data", columns={"conv": "messages"}, keep_columns=["conv"])',
            ),
            (
                "drops conv, which is renamed",
                'dataset=hft.Dataset(id="me/data", columns={"conv": "messages"}, keep_columns=["conv"])',
            ),
        ],
    ),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "keep_columns": ["x"], "columns": {"conv": "messages"}}},
        NOTHING,
        [
            (
                "drops conv, which is renamed",
                'dataset=hft.Dataset(id="me/data", columns={"conv": "messages"}, keep_columns=["x", "conv"])',
            )
        ],
    ),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "keep_columns": ["conv"], "columns": {"conv": "messages"}}},
        columns("conv", "messages"),
        [],
    ),
    (
        "VIS004",
        {"method": "kto", "precompute_ref_log_probs": True},
        columns("prompt", "completion", "label", "image"),
        [("images are processed batch by batch, never ahead", "precompute_ref_log_probs=False")],
    ),
    ("VIS004", {"method": "kto"}, columns("prompt", "completion", "label", "image"), []),
    ("TUNE007", {"method": "orpo", "quantization": "4bit", "lora": {}, "hardware": "t4-small"}, NOTHING, []),
    ("TUNE007", {"quantization": "4bit", "lora": {}, "bf16": False, "hardware": "t4-small"}, NOTHING, []),
    (
        "PREC003",
        {"dtype": "bfloat16", "fp16": True},
        NOTHING,
        [("fp16 arithmetic cannot train weights that are bfloat16 themselves", FLOAT32)],
    ),
    ("PREC003", {"dtype": "float16", "hardware": "t4-medium"}, NOTHING, [(FP16_WEIGHTS, FLOAT32)]),
    ("PREC003", {"dtype": "auto", "fp16": True}, Facts(model=ModelFacts(dtype="float16")), [(FP16_WEIGHTS, FLOAT32)]),
    ("PREC003", {"dtype": "auto", "fp16": True}, Facts(model=ModelFacts(dtype="float32")), []),
    (
        "PREC003",
        {"dtype": "float16", "fp16": True, "lora": {"modules_to_save": ["lm_head"]}},
        NOTHING,
        [(FP16_WEIGHTS, FLOAT32)],
    ),
    ("PREC003", {"method": "reward", "dtype": "float16", "fp16": True, "lora": {}}, NOTHING, [(FP16_WEIGHTS, FLOAT32)]),
    ("PREC003", {"dtype": "float16", "hardware": "l4x1"}, NOTHING, []),
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
                (
                    "DPO needs chosen and rejected; me/data has conversations. conversations holds one answer; "
                    "preferences need two, a better and a worse one"
                ),
                "",
            )
        ],
    ),
    (
        "DATA004",
        {"method": "grpo"},
        columns("messages"),
        [
            (
                (
                    "GRPO needs prompt; me/data has messages. Build prompt from messages: the conversation without its "
                    "last answer"
                ),
                "",
            )
        ],
    ),
    (
        "TUNE005",
        {"attn_implementation": "kernels-community/flash-attn2", "extra_dependencies": ["kernels"]},
        NOTHING,
        [
            (
                "kernels from the Hub need kernels>=0.18.2,<0.19, not kernels; the script brings it",
                "extra_dependencies=None",
            )
        ],
    ),
    (
        "HUB001",
        {"lora": {"adapter": "./sft"}, "namespace": "me"},
        Facts(adapter=ModelFacts(exists=True)),
        [
            (
                "./sft is on this machine, where a job cannot read it: push it, and give its id",
                "hf upload me/sft ./sft --private",
            )
        ],
    ),
    (
        "HUB002",
        {"lora": {"adapter": "me/sft"}},
        Facts(model=ModelFacts(exists=True), dataset=DatasetFacts(exists=True), adapter=ModelFacts(exists=False)),
        [("the Hub has no model me/sft, or does not show it to your token; a folder here is written ./me/sft", "")],
    ),
    (
        "HUB003",
        {"lora": {"adapter": "bad id!/x y"}},
        NOTHING,
        [('"bad id!/x y" is not a repository id, which is namespace/name; a path here begins with ./', "")],
    ),
    # 14 heads go on two GPUs, not on four
    (
        "NODE005",
        apart("a100x4"),
        Facts(model=QWEN_05B),
        [
            (
                (
                    "2 of the 4 GPUs of the last node, which serves, would be idle: vLLM spreads the 14 attention "
                    "heads over 2 at most"
                ),
                'vllm_mode="colocate"',
            )
        ],
    ),
    (
        "NODE005",
        apart("a100x4"),
        NOTHING,
        [
            (
                (
                    "3 of the 4 GPUs of the last node, which serves, would be idle: the model's attention heads are "
                    "unknown"
                ),
                "",
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
        [("the server has a node of its own with 4 of the 8 GPUs that it is given", "vllm_tensor_parallel_size=None")],
    ),
    (
        "VLLM007",
        apart("a10g-largex2", lora={}, quantization="4bit"),
        Facts(model=LLAMA_70B),
        [
            (
                (
                    "65.7 GiB of weights would go on each of 2 GPUs of a10g-largex2, but the server may use only 20.0 "
                    "GiB of it"
                ),
                'hardware=hft.Hardware(flavor="auto", strategy="auto", nodes=2)',
            )
        ],
    ),
    (
        "GRPO014",
        {
            "method": "online_dpo",
            "reward_funcs": [{"name": "f", "source": "def f(completions, log_metric, **kwargs):\n    return [0.0]\n"}],
        },
        columns("prompt"),
        [("f needs a column log_metric of me/data; it has only prompt", "")],
    ),
    ("ORPO002", {"method": "orpo", "generate_during_eval": True, "extra_dependencies": ["comet-ml"]}, NOTHING, []),
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
        [("two columns would be named text", 'dataset=hft.Dataset(id="me/data", columns={"a": "text"})')],
    ),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "columns": {"content": "text"}}},
        columns("text", "content"),
        [
            (
                "me/data has a column text already",
                'dataset=hft.Dataset(id="me/data", columns={"text": "old_text", "content": "text"})',
            )
        ],
    ),
    ("DATA005", {"dataset": {"id": "me/data", "columns": {"a": "b", "b": "a"}}}, columns("a", "b", "text"), []),
    (
        "DATA005",
        {"dataset": {"id": "me/data", "columns": {"quest": "prompt"}}},
        columns("prompt", "completion"),
        [("me/data has no column quest; it has prompt, completion", 'dataset="me/data"')],
    ),
    (
        "DATA004",
        {},
        Facts(
            dataset=DatasetFacts(exists=True, columns=("question", "answers"), neither_text_nor_talk=("answers",)),
        ),
        [
            (
                "SFT needs messages, text, prompt and completion, conversations or input_ids; me/data has question, "
                "answers",
                "",
            )
        ],
    ),
    (
        "DATA023",
        {"method": "kto"},
        Facts(
            dataset=DatasetFacts(
                exists=True,
                columns=("prompt", "completion", "label"),
                values=ValueFacts(
                    8, (Finding("label", ("label",), 0, 4, "-1"), Finding("one label", ("label",), 0, 4, "true"))
                ),
            )
        ),
        [],
    ),
    (
        "DATA031",
        {},
        Facts(
            dataset=DatasetFacts(
                exists=True, columns=("messages",), shape=Shape(misfit=Misfit("weight", "messages", ("0.5",)))
            )
        ),
        [
            (
                "messages of me/data has messages of weight 0.5, which TRL ignores: make them 0 or 1, or drop the "
                "weights, with hft.Dataset(map=...)",
                "",
            )
        ],
    ),
    (
        "DATA031",
        {},
        Facts(dataset=DatasetFacts(exists=True, columns=("messages",), shape=Shape(rows_of_one=0.0))),
        [
            (
                "no answer in messages of me/data has a weight other than 0: there is nothing to train on",
                "",
            )
        ],
    ),
    ("DATA010", {"dataset": {"id": "me/data", "split": "all"}}, columns("text"), []),
    (
        "GRPO014",
        {"method": "grpo", "reward_funcs": "accuracy_reward"},
        columns("question", "answer"),
        [
            (
                "accuracy_reward needs a column solution of me/data; it has question, answer",
                'dataset=hft.Dataset(id="me/data", columns={"answer": "solution"})',
            )
        ],
    ),
    (
        "GRPO001",
        {"method": "grpo", "per_device_train_batch_size": 3, "hardware": "a10g-largex4"},
        NOTHING,
        [
            (
                "8 answers per prompt do not divide the 12 generated at once: 3 per device x 4 GPUs x 1 step",
                "num_generations=6",
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
                "8 answers per prompt do not divide the 1 generated at once: 1 per device x 1 GPU x 1 step",
                "per_device_train_batch_size=8",
            )
        ],
    ),
    (
        "GRPO001",
        {"method": "grpo", "generation_batch_size": 12, "hardware": "a10g-large"},
        NOTHING,
        [
            ("12 is not a multiple of 8 per device on 1 GPU", "generation_batch_size=16"),
            ("8 answers per prompt do not divide generation_batch_size=12", "num_generations=6"),
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
        [("8 per device on 2 GPUs and 2 accumulation steps make 32, not 64", "gradient_accumulation_steps=None")],
    ),
    ("BATCH001", {"global_batch_size": 64, "gradient_accumulation_steps": 4, "hardware": "a10g-largex2"}, NOTHING, []),
    (
        "LORA001",
        {"lora": {"target_modules": ".*"}},
        NOTHING,
        [("matches lm_head, and TRL does not support an adapter there", 'lora=hft.LoRA(target_modules="all-linear")')],
    ),
    (
        "LORA001",
        {"lora": {"target_modules": "("}},
        NOTHING,
        [
            (
                "is not a regular expression: missing ), unterminated subpattern at position 0",
                "lora=hft.LoRA()",
            )
        ],
    ),
    ("LORA001", {"lora": {"target_modules": "all-linear"}}, NOTHING, []),
    (
        "HW003",
        {"hardware": {"max_usd_per_hour": 0.5}},
        Facts(model=QWEN_05B),
        [
            (
                "no flavor fits; the closest, l4x1: $0.80/h is above max_usd_per_hour=0.5",
                "hardware=hft.Hardware(max_usd_per_hour=0.8)",
            )
        ],
    ),
    ("HW004", {}, Facts(model=LLAMA_70B), []),
    (
        "HW006",
        {"hardware": {"flavor": "a10g-large", "strategy": "ddp"}},
        NOTHING,
        [("a10g-large has only one GPU", 'hardware=hft.Hardware(flavor="a10g-large", strategy="auto")')],
    ),
    (
        "HW006",
        {"hardware": {"strategy": "user"}},
        NOTHING,
        [("neither fsdp nor deepspeed is given", 'hardware=hft.Hardware(strategy="auto")')],
    ),
    (
        "SEC004",
        {"report_to": "none"},
        account(has_token=True, problem="the Hub does not accept this token"),
        [("the Hub does not accept this token; starting the job needs one", "hf auth login")],
    ),
    (
        "SEC004",
        {},
        account(has_token=True, name="me", token_role="read"),
        [
            (
                (
                    "your Hub token can only read (https://huggingface.co/settings/tokens makes one that can write); "
                    "starting the job needs one, and so does the script: it logs to a Space"
                ),
                "hf auth login",
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
        [('"me/team" is not the name of a user or organization', 'namespace="me"')],
    ),
    (
        "HUB004",
        {"namespace": "other"},
        account(name="me", organizations=()),
        [("other is neither me, the owner of the token, nor an organization of yours", 'namespace="me"')],
    ),
    ("HUB004", {"namespace": "Team"}, account(name="me", organizations=("team",)), []),
    ("TRACK001", {"namespace": "me"}, NOTHING, []),
    ("TRACK001", {"report_to": "none"}, NOTHING, []),
    (
        "TRACK002",
        {"project": "..."},
        NOTHING,
        [('trackio drops every character of "...", which leaves no name', 'tracking=hft.Tracking(project="model")')],
    ),
    (
        "TRACK002",
        {"project": "registry-mine"},
        NOTHING,
        [('trackio reserves names that begin with "registry-"', 'tracking=hft.Tracking(project="mine")')],
    ),
    (
        "TRAIN001",
        {"eval_fraction": 0.1, "load_best_model_at_end": True, "eval_strategy": "epoch"},
        NOTHING,
        [('must equal save_strategy ("steps") with load_best_model_at_end', 'save_strategy="epoch"')],
    ),
    (
        "TRAIN001",
        {"eval_fraction": 0.1, "load_best_model_at_end": True, "eval_strategy": "steps", "save_steps": 25},
        NOTHING,
        [("must be a multiple of eval_steps (10) with load_best_model_at_end", "save_steps=20")],
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
        [("the model is trained on these rows", "eval_dataset=None, eval_fraction=0.1")],
    ),
    (
        "JOB002",
        {"timeout": 4, "timeout_padding": 0.0},
        NOTHING,
        [("4s (4 s with padding) is too short: a job needs at least 300 s to start", 'timeout="4h"')],
    ),
    (
        "HW001",
        {"hardware": "abacus"},
        NOTHING,
        [('Hugging Face Jobs has no flavor "abacus" (snapshot 2026-08-22)', 'hardware="auto"')],
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
    assert said("JOB003", {"labels": {key: "x"}}) == [
        (f'the label "{key}" is set by this package', f'labels={{"my-{key}": "x"}}')
    ]


def test_labels_that_a_plan_sets_are_ours() -> None:
    plan = hft.plan(base({"tracking": {"group": "g"}}), facts=NOTHING)
    assert plan.request.labels.keys() <= OUR_LABELS


def test_names_of_the_script_are_taken() -> None:
    names = {"main", "MODEL", "report", "relaunch", "push", "track", "os", "sys", "time", "Path"}
    assert names <= taken_names(hft.GRPO.METHOD).top


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


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 10, 50])
@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.5, 0.9, 0.95, 0.99])
def test_a_fraction_is_refused_where_datasets_refuses_it(rows: int, fraction: float) -> None:
    import datasets

    known = Facts(dataset=DatasetFacts(num_rows=rows))
    found = said("DATA012", {"eval_fraction": fraction}, known)
    data = datasets.Dataset.from_dict({"text": ["a"] * rows})
    if not found:
        assert len(data.train_test_split(test_size=fraction)["train"]) > 0
        return
    with pytest.raises(ValueError, match="will be empty"):
        data.train_test_split(test_size=fraction)
    ((_, fix),) = found
    if rows > 1:
        advised = float(fix.removeprefix("eval_fraction=").split(" ")[0])
        assert said("DATA012", {"eval_fraction": advised}, known) == []


def test_a_split_without_rows_is_told_of_once() -> None:
    known = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=0))
    assert said("DATA012", {"eval_fraction": 0.1}, known) == [('me/data has no rows in the split "train"', "")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"save_steps": 60_000}, "no checkpoint is written"),
        ({"save_steps": 45_000}, "the first checkpoint is written after 45,000 steps"),
        ({"save_steps": 0.9}, "the first checkpoint is written after 45,000 steps"),
        ({"save_strategy": "epoch"}, None),
        ({"save_steps": 5000}, None),
        ({"save_steps": 0.1}, None),
        ({"save_strategy": "no", "num_train_epochs": 1}, None),
        ({"save_strategy": "epoch", "max_steps": 50_000}, None),
    ],
    ids=str,
)
def test_what_a_long_run_may_lose(fields: dict[str, Any], told: str | None) -> None:
    known = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
    found = said("TRAIN008", {"hardware": "l4x1", "num_train_epochs": 20, **fields}, known)
    assert [why.split(", of a run")[0] for why, _ in found] == ([told] if told else [])


def test_an_epoch_that_takes_a_day_is_one_checkpoint() -> None:
    known = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=400_000))
    ((why, fix),) = said("TRAIN008", {"hardware": "l4x1", "num_train_epochs": 1, "save_strategy": "epoch"}, known)
    assert why.startswith("the first checkpoint is written after ")
    assert fix.startswith('save_strategy="steps", save_steps=')


def test_no_checkpoints_of_a_long_run_are_told_once() -> None:
    known = Facts(model=LLAMA_70B, dataset=DatasetFacts(num_rows=200_000))
    fields = {"hardware": {"flavor": "h200x8", "attempts": 2}, "save_strategy": "no"}
    assert said("TRAIN008", fields, known) == []
    ((_, fix),) = said("RESUME003", fields, known)
    assert fix.startswith('save_strategy="steps", save_steps=')


def test_attempts_of_ppo_without_checkpoints_are_told_once() -> None:
    hardware = {"flavor": "a100-large", "attempts": 2}
    report = hft.check({**base({"method": "ppo"}), "hardware": hardware, "output": {"checkpoints": None}}, offline=True)
    assert [item.code for item in report.problems if item.code.startswith("RESUME")] == ["RESUME004"]


def test_more_often_than_after_each_step_is_none_saved() -> None:
    known = Facts(model=LLAMA_70B, dataset=DatasetFacts(num_rows=200_000))
    fields = {"hardware": "t4-small", "global_batch_size": 16_384, "num_train_epochs": 1, "save_strategy": "steps"}
    ((_, fix),) = said("TRAIN008", fields, known)
    assert fix == "save_steps=1"
    assert said("TRAIN008", {**fields, "save_steps": 1}, known) == []


@pytest.mark.parametrize(
    ("model_type", "targets", "fix"),
    [
        ("qwen2", "all-linear", "lora=hft.LoRA(layers_to_transform=[0])"),
        (None, "all-linear", "lora=hft.LoRA(layers_to_transform=[0])"),
        ("falcon", "all-linear", ""),
        ("falcon", "dense", 'lora=hft.LoRA(target_modules=["dense"], layers_to_transform=[0])'),
    ],
)
def test_names_beside_some_layers(model_type: str | None, targets: str, fix: str) -> None:
    known = Facts(model=ModelFacts(exists=True, model_type=model_type, num_hidden_layers=32))
    lora = {"layers_to_transform": [0], "target_modules": targets}
    assert said("TUNE006", {"lora": lora}, known) == [("needs target_modules as a list of names", fix)]


def test_a_name_as_text_matches_whole_paths_alone() -> None:
    ((why, fix),) = said("LORA002", {"lora": {"r": 8, "target_modules": "q_proj"}}, Facts(model=QWEN_05B))
    assert why == '"q_proj" as text is a regular expression for the whole path of a module; a name is an item of a list'
    assert fix == 'lora=hft.LoRA(r=8, target_modules=["q_proj"])'


def test_an_adapter_that_is_not_here() -> None:
    facts = Facts(adapter=ModelFacts(exists=False))
    assert said("DATA006", {"lora": {"adapter": "./nope"}}, facts, "local") == [
        ("./nope does not exist on this machine", "")
    ]


def test_a_private_adapter_needs_the_token() -> None:
    spec = base({"lora": {"adapter": "me/sft"}, "report_to": "none", "output": {"push_to_hub": False}})
    for private in (True, False):
        plan = hft.plan(spec, facts=Facts(adapter=ModelFacts(exists=True, private=private)))
        assert ("HF_TOKEN" in plan.request.secrets) is private
