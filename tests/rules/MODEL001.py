from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"model": "me/model-GGUF"}
GOOD = {"model": "me/model"}
FACTS = Facts(model=ModelFacts(exists=True, weights="GGUF", based_on="me/model"))
GOOD_FACTS = Facts(model=ModelFacts(exists=True, weights="transformers", library="sentence-transformers"))
UNCHECKED = "the files of me/model-GGUF"
EXPECTED = [
    (
        "model",
        (
            "me/model-GGUF has GGUF files alone, made from me/model, which are for running a model: train the one that "
            "they were made from"
        ),
        'model="me/model"',
    )
]
