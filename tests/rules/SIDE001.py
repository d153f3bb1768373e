from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"method": "distillation"}
GOOD = {"method": "distillation"}
FACTS = Facts(model=ModelFacts(vocab_size=151936), teacher=ModelFacts(vocab_size=128256))
GOOD_FACTS = Facts(model=ModelFacts(vocab_size=151936), teacher=ModelFacts(vocab_size=151936))
UNCHECKED = "the vocabulary of me/model"
EXPECTED = [
    (
        "teacher_model",
        (
            "me/teacher has a vocabulary of 128256 tokens, me/model one of 151936: a teacher of the same family "
            "shares it"
        ),
        "",
    )
]
