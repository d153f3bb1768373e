from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, RowFinding, TemplateFacts

SEEN = TemplateFacts(rendered=64, made_with=RenderedWith("labels"), talks=64, has_template=True)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FACTS = Facts(template=replace(SEEN, findings=(RowFinding("raises", 4, 31, "System role not supported"),)))
GOOD_FACTS = Facts(template=SEEN)
EXPECTED = [
    (
        "dataset",
        (
            'the chat template of me/model refuses conversations, saying "System role not supported": row 4 is the '
            "first of 31 in the 64 looked at"
        ),
        "",
    )
]
