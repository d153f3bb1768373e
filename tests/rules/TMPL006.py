from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, RowFinding, TemplateFacts

SEEN = TemplateFacts(rendered=64, made_with=RenderedWith("labels"), talks=64, has_template=True)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FOUND = (RowFinding("thoughts", 1, 60, "assistant"), RowFinding("tools", 3, 9, "multiply"))
FACTS = Facts(template=replace(SEEN, findings=FOUND))
GOOD_FACTS = Facts(template=SEEN)
EXPECTED = [
    (
        "dataset",
        (
            "the chat template of me/model drops the thoughts of answers that are trained on, in 60 of 64 rows that "
            "were read, the first of them row 2: the model learns to answer without them"
        ),
        "",
    ),
    (
        "dataset",
        (
            "the chat template of me/model does not render the column tools, in 9 of 64 rows that were read, the first "
            "of them row 4"
        ),
        "",
    ),
]
