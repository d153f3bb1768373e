"""What is refused of a model by its class really fails with the pinned TRL and transformers, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.facts.dataset import SHARES
from hfjobs_trainer.gathering.local_model import read_model
from hfjobs_trainer.planning.model import architectures as known

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SIZES = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"model_type": "llama", "intermediate_size": 32, **SIZES},
    "LlamaForSequenceClassification": {"model_type": "llama", "intermediate_size": 32, **SIZES},
    "LlamaModel": {"model_type": "llama", "intermediate_size": 32, **SIZES},
    "BertForMaskedLM": {"model_type": "bert", "intermediate_size": 32, **SIZES},
    "T5ForConditionalGeneration": {
        "model_type": "t5",
        "vocab_size": 64,
        "d_model": 16,
        "d_ff": 32,
        "num_layers": 1,
        "num_heads": 2,
        "d_kv": 8,
        "decoder_start_token_id": 0,
    },
    "LLaMAForCausalLM": {"model_type": "llama", "intermediate_size": 32, **SIZES},
    "Next9ForCausalLM": {"model_type": "next9", "intermediate_size": 32, **SIZES},
}


SCORES = ModelFacts(model_type="llama", architectures=("LlamaForSequenceClassification",))


def told(folder: Path, method: str = "sft", **fields: Any) -> list[str]:
    spec = {"method": method, "model": str(folder), "dataset": "me/data", **fields}
    problems = hft.check(spec, facts=Facts(model=read_model(str(folder))), backend="local").problems
    return [item.code for item in problems if item.code.startswith("MODEL") and item.severity == "error"]


@pytest.mark.torch
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_refused_for_its_class_does_not_train(name: str, tmp_path: Path, tiny_model: Path) -> None:
    import transformers
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    config = dict(CONFIGS[name])
    built: Any = getattr(transformers, name, transformers.LlamaForCausalLM)
    made = built(built.config_class(**{key: value for key, value in config.items() if key != "model_type"}))
    made.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {**config, "architectures": [name], "vocab_size": 64}))
    expected = [] if name == "LlamaForCausalLM" else ["MODEL004"] if name.startswith("Next9") else ["MODEL006"]
    assert told(tmp_path)[:1] == expected
    rows = Dataset.from_list([{"input_ids": [3, 4, 5, 6]}] * 4)
    arguments: dict[str, Any] = {"max_steps": 1, "report_to": "none", "use_cpu": True, "save_strategy": "no"}
    options = SFTConfig(str(tmp_path / "out"), bf16=False, disable_tqdm=True, **arguments)

    def train() -> None:
        SFTTrainer(str(tmp_path), args=options, train_dataset=rows).train()

    if expected:
        with pytest.raises((AttributeError, ValueError)):
            train()
    else:
        train()


@pytest.mark.torch
@pytest.mark.parametrize("kind", [*sorted(known.POSITIONS_IN_A_TABLE), "llama", "gpt_neox"])
def test_a_table_of_positions_has_an_end(kind: str) -> None:
    import torch
    import transformers

    given = {
        **SIZES,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "rotary_dim": 8,
        "intermediate_size": 64,
    }
    if kind == "gpt_neo":
        given |= {"num_layers": 1, "attention_types": [[["global"], 1]]}
    config = transformers.AutoConfig.for_model(kind, **given)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model(input_ids=torch.randint(3, 60, (1, 16)))
    longer = torch.randint(3, 60, (1, 40))
    if kind in known.POSITIONS_IN_A_TABLE:
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=longer)
    else:
        model(input_ids=longer)


def lengths(longest: float) -> LengthFacts:
    return LengthFacts("tokens", 100, longest / 2, tuple(longest * share for share in SHARES), counted_p99=longest)


@pytest.mark.parametrize(
    ("fields", "longest", "fix"),
    [
        ({"max_length": 2048}, None, "max_length=1024"),
        ({"max_length": 2048}, 1500, "max_length=1024"),
        ({"max_length": 2048}, 900, None),
        ({"max_length": 2048, "packing": True}, 900, "max_length=1024"),
        ({}, 1500, None),
        ({"method": "grpo", "max_completion_length": 1024}, 200, "max_completion_length=824"),
        ({"method": "grpo", "max_completion_length": 512}, 200, None),
        ({"method": "grpo", "max_completion_length": 512}, 2000, ""),
        ({"method": "grpo", "max_completion_length": 2000}, None, "max_completion_length=1024"),
    ],
)
@pytest.mark.parametrize(("kind", "code"), [("gpt2", "MODEL010"), ("llama", "MODEL011")])
def test_the_longest_sequence(
    fields: dict[str, Any], longest: float | None, fix: str | None, kind: str, code: str
) -> None:
    spec = {"method": "sft", "model": "me/m", "dataset": "me/d", **fields}
    if spec["method"] == "grpo":
        spec["reward_funcs"] = "accuracy_reward"
    model = ModelFacts(exists=True, model_type=kind, max_position_embeddings=1024)
    dataset = DatasetFacts(exists=True, lengths=lengths(longest) if longest else None)
    problems = hft.check(spec, facts=Facts(model=model, dataset=dataset)).problems
    found = [item.fix for item in problems if item.code == code]
    assert found == ([] if fix is None else [fix])
    other = {"MODEL010": "MODEL011", "MODEL011": "MODEL010"}[code]
    assert not [item for item in problems if item.code == other]


@pytest.mark.parametrize(
    ("method", "facts", "codes"),
    [
        ("orpo", SCORES, ["MODEL006"]),
        ("orpo", ModelFacts(model_type="llama", architectures=("LLaMAForCausalLM",)), []),
        ("reward", ModelFacts(model_type="bert", architectures=("BertForMaskedLM",)), []),
        ("reward", replace(SCORES, num_labels=2), ["MODEL007"]),
        ("reward", replace(SCORES, num_labels=1), []),
        ("reward", ModelFacts(model_type="codegen", architectures=("CodeGenForCausalLM",)), ["MODEL007"]),
        ("sft", ModelFacts(model_type="gemma3", architectures=("Gemma3ForConditionalGeneration",)), []),
        # transformers has the architecture itself, so the repository's code is not needed
        ("sft", ModelFacts(model_type="llama", architectures=("Own",), auto_classes=("AutoModelForCausalLM",)), []),
        ("sft", ModelFacts(model_type="own", architectures=("Own",), auto_classes=("AutoConfig",)), ["MODEL005"]),
        # of a gated model the Hub's summary alone is known
        ("sft", ModelFacts(model_type="own"), []),
        ("sft", ModelFacts(weights="other", model_type="llama"), ["MODEL001"]),
        ("sft", ModelFacts(weights="none", adapts="me/base"), []),
    ],
)  # fmt: skip
def test_classes(method: str, facts: ModelFacts, codes: list[str]) -> None:
    spec = {"method": method, "model": "me/m", "dataset": "me/d"}
    problems = hft.check(spec, facts=Facts(model=replace(facts, exists=True))).problems
    assert [item.code for item in problems if item.code.startswith("MODEL")] == codes
