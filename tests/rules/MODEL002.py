from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {}
GOOD = {}
FACTS = Facts(model=ModelFacts(exists=True, weights="transformers", has_tokenizer=False, based_on="me/base"))
GOOD_FACTS = Facts(model=ModelFacts(exists=True, weights="transformers", has_tokenizer=True))
UNCHECKED = "the files of me/model"
EXPECTED = [
    (
        "model",
        "me/model has no tokenizer, which TRL loads from there: name its base model as processing_class",
        'processing_class="me/base"',
    )
]
