from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

FACTS = Facts(model=ModelFacts(exists=True, model_type="qwen2", num_hidden_layers=24))
BAD = {"lora": {"target_modules": ["q_proj", "out_proj", "wte"], "modules_to_save": ["embed_in", "lm_head"]}}
GOOD = {"lora": {"target_modules": ["q_proj", "layers.23.mlp.up_proj"], "modules_to_save": ["embed_tokens"]}}
UNCHECKED = "the names of the modules of me/model"
FIX = 'lora=hft.LoRA(target_modules=["q_proj"], modules_to_save=["lm_head"])'
EXPECTED = [
    (
        "lora.target_modules",
        'a qwen2 model has no module "out_proj" or "wte", so PEFT ignores them',
        FIX,
    ),
    (
        "lora.modules_to_save",
        'a qwen2 model has no module "embed_in", so PEFT ignores it',
        FIX,
    ),
]
