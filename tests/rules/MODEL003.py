from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"model": "gpt2"}
GOOD = {"model": "openai-community/gpt2"}
FACTS = Facts(model=ModelFacts(exists=True, current_id="openai-community/gpt2"))
GOOD_FACTS = Facts(model=ModelFacts(exists=True))
EXPECTED = [("model", "gpt2 is openai-community/gpt2 on the Hub today", 'model="openai-community/gpt2"')]
