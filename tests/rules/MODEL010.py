from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"max_length": 2048}
GOOD = {"max_length": 1024}
FACTS = Facts(model=ModelFacts(exists=True, model_type="gpt2", max_position_embeddings=1024))
EXPECTED = [
    (
        "max_length",
        (
            "sequences of up to 2048 tokens are too long for me/model, which has a position for each of 1024 tokens "
            "and none beyond"
        ),
        "max_length=1024",
    )
]
