from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, RenderedWith, SequenceTokens, TemplateFacts

SEEN = TemplateFacts(
    rendered=2,
    made_with=RenderedWith("labels"),
    sequences=(SequenceTokens(0, 900, ((700, 900),)), SequenceTokens(1, 800, ((799, 800),))),
)
BAD = {"dataset": "me/data", "max_length": 700}
GOOD = {"dataset": "me/data", "max_length": 701}
FACTS = Facts(dataset=DatasetFacts(exists=True), template=SEEN)
EXPECTED = [
    (
        "max_length",
        ("max_length=700 leaves nothing to train on of any of the 2 rows looked at; 1024 are enough for most of them"),
        "max_length=1024",
    )
]
