from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts, RenderedWith, SequenceTokens, TemplateFacts

SEEN = TemplateFacts(
    rendered=2,
    made_with=RenderedWith("labels"),
    sequences=(SequenceTokens(0, 900, ((0, 900),)), SequenceTokens(1, 3000, ((0, 3000),))),
)
BAD = {"dataset": "me/data", "max_length": None}
GOOD = {"dataset": "me/data", "max_length": 2048}
FACTS = Facts(model=ModelFacts(max_position_embeddings=2048), template=SEEN)
EXPECTED = [
    ("max_length", "rows have up to 3000 tokens, and me/model has 2048 positions", "max_length=2048"),
]
