from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, TemplateFacts

SEEN = TemplateFacts(
    rendered=8,
    made_with=RenderedWith("labels", assistant_only_loss=True),
    talks=8,
    has_template=True,
    can_mask=False,
)
BAD = {"dataset": "me/data", "assistant_only_loss": True}
GOOD = {"dataset": "me/data", "assistant_only_loss": True}
FACTS = Facts(template=SEEN)
GOOD_FACTS = Facts(template=replace(SEEN, can_mask=True))
EXPECTED = [
    (
        "assistant_only_loss",
        (
            "the chat template of me/model does not mark the assistant's tokens with generation markers, and TRL has "
            "no version of it that does"
        ),
        "assistant_only_loss=False",
    )
]
