from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts

BAD = {"namespace": "taem", "output": {"hub_model_id": "someone/model"}, "tracking": {"space_id": "me/trackio"}}
GOOD = {"namespace": "team", "output": {"hub_model_id": "me/model"}, "tracking": {"space_id": "trackio"}}
FACTS = Facts(account=AccountFacts(has_token=True, name="me", organizations=("team",)))
UNCHECKED = "the owner of the token"
EXPECTED = [
    (
        "namespace",
        "taem is neither me, the owner of the token, nor one of your organizations (team)",
        'namespace="team"',
    ),
    (
        "output.hub_model_id",
        "someone is neither me, the owner of the token, nor one of your organizations (team)",
        'output=hft.Output(hub_model_id="me/model")',
    ),
]
