from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, Facts

BACKEND = "inprocess"
BAD = {"tracking": {"project": "chat"}}
GOOD = {"tracking": {"project": "chat"}}
GOOD_FACTS = Facts(account=AccountFacts(name="me"))
EXPECTED = [
    (
        "tracking.space_id",
        "no Space for the metrics, since the job's owner is unknown, and the machine's disk is lost with the job",
        'tracking=hft.Tracking(project="chat", report_to="none")',
    ),
]
