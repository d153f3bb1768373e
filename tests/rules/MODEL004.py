from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {}
GOOD = {}
FACTS = Facts(model=ModelFacts(exists=True, model_type="llama9", architectures=("Llama9ForCausalLM",)))
GOOD_FACTS = Facts(model=ModelFacts(exists=True, model_type="llama", architectures=("LlamaForCausalLM",)))
UNCHECKED = "the files of me/model"
EXPECTED = [("model", 'me/model is of the type "llama9", which transformers 5.23.0 does not have', "")]
