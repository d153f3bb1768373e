from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {}
GOOD = {}
FACTS = Facts(model=ModelFacts(exists=True, weights="transformers", has_tokenizer=False))
GOOD_FACTS = Facts(model=ModelFacts(exists=True, weights="transformers", has_tokenizer=True))
UNCHECKED = "the files of me/model"
EXPECTED = [
    ("model", "me/model has no tokenizer, which TRL loads from there: save that of its base model beside it", "")
]
