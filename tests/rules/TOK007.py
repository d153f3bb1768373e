from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, SequenceTokens, TemplateFacts

SEEN = TemplateFacts(
    rendered=2,
    made_with=RenderedWith("labels"),
    sequences=(SequenceTokens(0, 90, ((70, 90),)), SequenceTokens(1, 80)),
)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FACTS = Facts(template=SEEN)
GOOD_FACTS = Facts(template=replace(SEEN, sequences=SEEN.sequences[:1]))
EXPECTED = [("dataset", "rows have no token to train on: row 1 of the 2 looked at", "")]
