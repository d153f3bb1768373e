from __future__ import annotations

from hfjobs_trainer.contents import Content, Part
from hfjobs_trainer.facts import DatasetFacts, Facts


def known(*left_out: str) -> Facts:
    content = Content("data", "0" * 64, (Part("a.jsonl", 10, "1" * 64),), is_folder=True, left_out=left_out)
    return Facts(dataset=DatasetFacts(path="/home/me/data", exists=True, saved=False, content=content))


BAD = GOOD = {"dataset": "./data"}
FACTS, GOOD_FACTS = known("b.jsonl", "more/c.jsonl"), known()
EXPECTED = [("dataset", "the job does not have what links out of ./data lead to: b.jsonl and 1 more", "")]
