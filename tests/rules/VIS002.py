from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"method": "sft", "packing": True}
GOOD = {"method": "sft"}
FACTS = Facts(model=ModelFacts(is_vision=True), dataset=DatasetFacts(columns=("images", "messages")))
UNCHECKED = "the columns of me/data"
EXPECTED = [("packing", "rows with images cannot be joined", "packing=False")]
