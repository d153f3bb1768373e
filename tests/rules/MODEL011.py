from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"max_length": 65536}
GOOD = {"max_length": 32768}
FACTS = Facts(model=ModelFacts(exists=True, model_type="qwen2", max_position_embeddings=32768))
UNCHECKED = "the files of me/model"
EXPECTED = [
    (
        "max_length",
        "sequences of up to 65536 tokens are too long for me/model, which knows sequences of up to 32768 tokens",
        "max_length=32768",
    )
]
