from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts, RenderedWith, TemplateFacts

SEEN = TemplateFacts(rendered=64, made_with=RenderedWith("labels"), size=32001, largest=32000)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FACTS = Facts(model=ModelFacts(vocab_size=32000), template=SEEN)
GOOD_FACTS = Facts(model=ModelFacts(vocab_size=32064), template=SEEN)
EXPECTED = [
    (
        "model",
        (
            "the tokenizer of me/model gives tokens up to number 32000, and the embedding of the model has 32000: "
            "resize it to the 32001 of the vocabulary, and save both"
        ),
        "",
    )
]
