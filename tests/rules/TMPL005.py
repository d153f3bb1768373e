from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, RowFinding, TemplateFacts

SEEN = TemplateFacts(
    rendered=1,
    made_with=RenderedWith("labels", assistant_only_loss=True),
    talks=1,
    has_template=True,
    can_mask=True,
)
BAD = {"dataset": "me/data", "assistant_only_loss": True}
GOOD = {"dataset": "me/data", "assistant_only_loss": True}
FACTS = Facts(template=replace(SEEN, findings=(RowFinding("no assistant", 0, 1, "system, user"),)))
GOOD_FACTS = Facts(template=SEEN)
EXPECTED = [
    (
        "assistant_only_loss",
        "rows have no token of the assistant's, but messages of system, user: row 0 of the 1 looked at",
        "assistant_only_loss=False",
    )
]
