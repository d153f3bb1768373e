from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"method": "dpo", "ref_model": "me/reference"}
GOOD = {"method": "dpo"}
FACTS = Facts(model=ModelFacts(vocab_size=151936), ref_model=ModelFacts(vocab_size=128256))
UNCHECKED = "the vocabulary of me/model"
EXPECTED = [
    (
        "ref_model",
        (
            "me/reference has a vocabulary of 128256 tokens, me/model one of 151936: the reference must read the "
            "model's tokens"
        ),
        "ref_model=None",
    )
]
