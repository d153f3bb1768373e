from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {}
GOOD = {}
FACTS = Facts(model=ModelFacts(exists=True, model_type="bert", architectures=("BertForMaskedLM",)))
GOOD_FACTS = Facts(model=ModelFacts(exists=True, model_type="llama", architectures=("LlamaForCausalLM",)))
UNCHECKED = "the files of me/model"
EXPECTED = [("model", "me/model is a BertForMaskedLM, which does not write text token by token", "")]
