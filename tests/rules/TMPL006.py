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
            "the chat template of me/model drops thoughts of answers that are trained on, so that the model learns to "
            "do without them: row 1 is the first of 60 in the 64 looked at"
        ),
        "",
    ),
    (
        "dataset",
        ("the chat template of me/model does not render the column tools: row 3 is the first of 9 in the 64 looked at"),
        "",
    ),
]
