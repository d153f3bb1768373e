from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts

BAD = {"tracking": {"project": "chat"}}
GOOD = {"tracking": {"project": "chat"}}
GOOD_FACTS = Facts(account=AccountFacts(name="me"))
EXPECTED = [
    (
        "tracking.space_id",
        "no Space is known for the metrics, since nobody knows whose job this is, and the machine's disk is lost",
        'space_id="username/trackio", or report_to="none"',
    ),
]
