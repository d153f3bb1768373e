from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts

BAD = {"output": {"hub_model_id": "me/model"}, "tracking": {"report_to": "none"}}
GOOD = BAD
FACTS = Facts(account=AccountFacts(has_token=False))
GOOD_FACTS = Facts(account=AccountFacts(has_token=True, name="me", organizations=(), token_role="write"))
UNCHECKED = "whether there is a Hub token"
EXPECTED = [
    (
        "secrets",
        "there is no Hub token; starting the job needs one, and so does the script: it pushes the model",
        "hf auth login",
    )
]
