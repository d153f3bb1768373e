from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

FACTS = Facts(model=ModelFacts(model_type="qwen2", quantization="gptq"))
BAD = {}
GOOD = {"lora": {}}
UNCHECKED = "the config.json of me/model"
EXPECTED = [
    (
        "model",
        "me/model is quantized (gptq), and quantized weights cannot be trained, only an adapter on them",
        "lora=hft.LoRA()",
    )
]
