from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.shape import Misfit, Shape


def to_messages(row):
    roles = {"narrator": "system", "gpt": "assistant"}
    return {"messages": [{"role": roles[item["from"]], "content": item["value"]} for item in row["conversations"]]}


SHAPE = Shape(misfit=Misfit("role", "conversations", ("narrator", "elf")))
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("conversations",), splits=("train",), shape=SHAPE))
BAD = {"method": "sft"}
GOOD = {"method": "sft", "dataset": {"id": "me/data", "map": to_messages}}
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            "conversations of me/data has messages from narrator, elf, which chat templates do not know: give "
            "hft.Dataset(map=...) a function that returns messages with role (system, user, assistant or tool) and "
            "content"
        ),
        "",
    ),
]
