from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts

BAD = {"output": {"hub_model_id": "team/model"}}
GOOD = {"output": {"hub_model_id": "me/model"}}
FACTS = Facts(
    account=AccountFacts(has_token=True, name="me", organizations=("team",), token_role="write", roles={"team": "read"})
)
EXPECTED = [
    (
        "output.hub_model_id",
        "your role in team is to read, so nothing can be pushed there",
        'output=hft.Output(hub_model_id="me/model")',
    )
]
