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
            'the chat template of me/model leaves out what messages of the role "human" say, so that nothing is '
            "learned of it: row 0 is the first of 8 in the 8 looked at"
        ),
        "",
    ),
    (
        "dataset",
        "the chat template of me/model leaves out tool calls: row 2 of the 8 looked at",
        "",
    ),
]
