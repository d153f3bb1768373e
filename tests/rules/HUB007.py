from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts

BAD = {"model": "them/gated", "dataset": "them/rows"}
GOOD = BAD
_ACCOUNT = AccountFacts(has_token=True, name="me", organizations=(), token_role="write")
FACTS = Facts(
    model=ModelFacts(exists=True, gated=True, granted=False),
    dataset=DatasetFacts(exists=True, gated=True, granted=False),
    account=_ACCOUNT,
)
GOOD_FACTS = Facts(
    model=ModelFacts(exists=True, gated=True, granted=True),
    dataset=DatasetFacts(exists=True, gated=True),
    account=_ACCOUNT,
)
EXPECTED = [
    (
        "model",
        (
            "them/gated is gated, and me, the owner of your token, has no access to it: accept its terms on "
            "https://huggingface.co/them/gated"
        ),
        "python -m webbrowser https://huggingface.co/them/gated",
    ),
    (
        "dataset.id",
        (
            "them/rows is gated, and me, the owner of your token, has no access to it: accept its terms on "
            "https://huggingface.co/datasets/them/rows"
        ),
        "python -m webbrowser https://huggingface.co/datasets/them/rows",
    ),
]
