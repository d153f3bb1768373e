from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"method": "dpo"}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("question", "preferred", "dispreferred"), splits=("train",)))
GOOD = {"method": "dpo", "dataset": {"id": "me/data", "columns": {"preferred": "chosen", "dispreferred": "rejected"}}}
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "dataset",
        "DPO needs chosen and rejected; me/data has question, preferred, dispreferred",
        'dataset=hft.Dataset(id="me/data", columns={"preferred": "chosen", "dispreferred": "rejected"})',
    ),
]
