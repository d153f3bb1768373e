from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts

BAD = {"namespace": "team"}
GOOD = {}
FACTS = Facts(
    account=AccountFacts(
        has_token=True,
        name="me",
        organizations=("team",),
        token_role="write",
        roles={"team": "write"},
        paying={"me": True, "team": False},
    )
)
EXPECTED = [
    (
        "namespace",
        (
            "the Hub says that team cannot pay, and a job needs credits: "
            "https://huggingface.co/organizations/team/settings/billing"
        ),
        'namespace="me"',
    )
]
