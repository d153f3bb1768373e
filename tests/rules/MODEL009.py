from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"model": "me/embeddings"}
GOOD = {"model": "me/model"}
FACTS = Facts(model=ModelFacts(exists=True, library="sentence-transformers", based_on="me/model"))
GOOD_FACTS = Facts(model=ModelFacts(exists=True))
EXPECTED = [("model", "me/embeddings was made to embed texts, not to write them", 'model="me/model"')]
