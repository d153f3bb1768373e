from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, RowFinding, TemplateFacts

SEEN = TemplateFacts(rendered=8, made_with=RenderedWith("labels"), talks=8, has_template=True)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FACTS = Facts(
    template=replace(SEEN, findings=(RowFinding("text", 0, 8, "human"), RowFinding("call", 2, 1, "assistant")))
)
GOOD_FACTS = Facts(template=SEEN)
EXPECTED = [
    (
        "dataset",
        (
            'the chat template of me/model leaves out what messages of the role "human" say, in 8 of 8 rows that were '
            "read, the first of them row 1: use the roles that it knows, which are mostly system, user and assistant"
        ),
        "",
    ),
    (
        "dataset",
        ("the chat template of me/model leaves out tool calls, in 1 of 8 rows that were read, the first of them row 3"),
        "",
    ),
]
