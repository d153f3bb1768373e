from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts, Scope

BAD = {"namespace": "team", "timeout": "3h"}
GOOD = {"timeout": "3h"}
FACTS = Facts(
    account=AccountFacts(
        has_token=True,
        name="me",
        organizations=("team",),
        token_role="fineGrained",
        roles={"team": "write"},
        scopes=(
            Scope("user", "me", frozenset({"job.write", "repo.write"})),
            Scope("org", "team", frozenset({"job.write"})),
        ),
    )
)
EXPECTED = [
    (
        "output.checkpoints",
        "your token may not create team/hft-checkpoints, which is to hold the checkpoints: "
        'https://huggingface.co/settings/tokens gives it "repo.write"',
        "hf auth login",
    )
]
