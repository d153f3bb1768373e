from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"model": "./no-model", "dataset": "no-data.jsonl", "chat_template_path": "chat.jinja"}
GOOD = {"model": "./model", "dataset": "data.jsonl"}
FACTS = Facts(
    model=ModelFacts(path="/home/me/no-model", exists=False),
    dataset=DatasetFacts(path="/home/me/no-data.jsonl", exists=False),
    chat_template=ModelFacts(path="/home/me/chat.jinja", exists=False),
)
GOOD_FACTS = Facts(
    model=ModelFacts(path="/home/me/model", exists=True), dataset=DatasetFacts(path="/home/me/data.jsonl", exists=True)
)
BACKEND = "local"
UNCHECKED = "whether ./no-model exists"
EXPECTED = [
    ("model", "./no-model does not exist on this machine", ""),
    ("dataset.id", "no-data.jsonl does not exist on this machine", ""),
    ("chat_template_path", "chat.jinja does not exist on this machine", ""),
]
