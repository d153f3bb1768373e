from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"method": "sft"}
GOOD = {"method": "sft"}
FACTS = Facts(model=ModelFacts(is_vision=False), dataset=DatasetFacts(columns=("image", "messages")))
GOOD_FACTS = Facts(model=ModelFacts(is_vision=True), dataset=DatasetFacts(columns=("image", "messages")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    ("model", "is a text model, and me/data has images", 'dataset=hft.Dataset(id="me/data", keep_columns=["messages"])')
]
