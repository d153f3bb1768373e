from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import GPT_OSS

FACTS = Facts(model=GPT_OSS)
BAD = {"lora": {"r": 8, "lora_dropout": 0.1}}
GOOD = {"lora": {"target_modules": "all-linear", "target_parameters": ["mlp.experts.gate_up_proj"]}}
UNCHECKED = "the names of the modules of me/model"
EXPECTED = [
    (
        "lora.target_modules",
        "the experts of a gpt_oss model are parameters, not linear layers, and get no adapter",
        'lora=hft.LoRA(r=8, target_modules="all-linear", '
        'target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"])',
    ),
]
