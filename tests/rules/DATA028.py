from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import ValueFacts

BAD = {"method": "orpo", "dataset": {"id": "me/data", "columns": {"question": "prompt"}}}
GOOD = {"method": "orpo", "dataset": {"id": "me/data", "columns": {"question": "prompt"}}}
COLUMNS = ("question", "chosen", "rejected", "input_ids", "messages")
FACTS = Facts(dataset=DatasetFacts(columns=COLUMNS, values=ValueFacts(512, conversational=True)))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(columns=(*COLUMNS[:3], "messages"), values=ValueFacts(512, conversational=False))
)
UNCHECKED = "the columns of me/data"
FIX = (
    'dataset=hft.Dataset(id="me/data", '
    'columns={"question": "prompt", "input_ids": "old_input_ids", "messages": "old_messages"})'
)
EXPECTED = [
    (
        "dataset",
        "me/data has a column input_ids, whose tokens the trainer counts as they are in the dataset",
        FIX,
    ),
    (
        "dataset",
        "me/data has a column messages, beside which TRL does not take conversations for pairs",
        FIX,
    ),
]
