from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

FACTS = Facts(model=ModelFacts(exists=True, model_type="gpt2", num_hidden_layers=12))
BAD = {"lora": {"target_modules": ["q_proj", "v_proj"]}}
GOOD = {"lora": {"target_modules": ["c_attn"]}}
UNCHECKED = "the names of the modules of me/model"
EXPECTED = [
    (
        "lora.target_modules",
        'a gpt2 model has no module "q_proj" or "v_proj"; its linear layers are "c_attn", "c_proj" and "c_fc"',
        "lora=hft.LoRA()",
    ),
]
