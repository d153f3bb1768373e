from __future__ import annotations

from hfjobs_trainer.facts import Facts, TargetFacts

BAD = {"tracking": {"space_id": "me/demo"}}
GOOD = {"tracking": {"space_id": "me/demo"}}
FACTS = Facts(space=TargetFacts("me/demo", exists=True, holds=("README.md",), sdk="gradio"))
GOOD_FACTS = Facts(
    space=TargetFacts("me/demo", exists=True, holds=("README.md", "app.py"), sdk="gradio", tags=("gradio", "trackio"))
)
EXPECTED = [
    (
        "tracking.space_id",
        "me/demo has no app.py, so there is no dashboard in it, and trackio adds none to a Space that is there",
        'tracking=hft.Tracking(space_id="me/trackio")',
    )
]
