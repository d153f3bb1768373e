from __future__ import annotations

from hfjobs_trainer.contents import Content, Part
from hfjobs_trainer.facts import DatasetFacts, Facts


def known(size: int) -> Facts:
    content = Content("crawl.jsonl", "0" * 64, (Part("crawl.jsonl", size, "0" * 64),))
    return Facts(dataset=DatasetFacts(path="/home/me/crawl.jsonl", exists=True, content=content))


BAD = GOOD = {"dataset": "./crawl.jsonl"}
FACTS, GOOD_FACTS = known(20 * 1024**3), known(5 * 1024**3)
EXPECTED = [("dataset", "crawl.jsonl has 20.0 GiB, which submit uploads unless it is there", "")]
