from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"router_aux_loss_coef": 0.001, "model_init_kwargs": {"output_router_logits": True, "use_cache": False}}
GOOD = {"router_aux_loss_coef": 0.001}
FACTS = Facts(model=ModelFacts(exists=True, model_type="llama"))
GOOD_FACTS = Facts(model=ModelFacts(exists=True, model_type="qwen3_moe", num_experts=8))
UNCHECKED = "the config.json of me/model"
_WHY = "me/model has no router whose loss could be added: it is no mixture of experts"
EXPECTED = [
    ("router_aux_loss_coef", _WHY, "router_aux_loss_coef=None"),
    ("model_init_kwargs", _WHY, 'model_init_kwargs={"use_cache": False}'),
]
