from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts, Scope

BAD = {"namespace": "team"}
GOOD = {}
FACTS = Facts(
    account=AccountFacts(
        has_token=True,
        name="me",
        organizations=("team",),
        token_role="fineGrained",
        roles={"team": "write"},
        scopes=(Scope("user", "me", frozenset({"job.write", "repo.write"})),),
    )
)
EXPECTED = [
    (
        "namespace",
        'your token may not start jobs as team: https://huggingface.co/settings/tokens gives it "job.write" there',
        "hf auth login",
    )
]
