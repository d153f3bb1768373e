from __future__ import annotations

from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts

BAD = {
    "model": "./my-model",
    "dataset": "data/train.jsonl",
    "eval_dataset": "./saved",
    "chat_template_path": "chat.jinja",
}
GOOD = {"model": "me/my-model", "dataset": "me/train"}
FACTS = Facts(
    model=ModelFacts(exists=True),
    dataset=DatasetFacts(exists=True),
    eval_dataset=DatasetFacts(exists=False),
    account=AccountFacts(name="ann"),
)
EXPECTED = [
    (
        "model",
        "./my-model is on this machine, where a job cannot read it",
        'hf upload ann/my-model ./my-model --private, then model="ann/my-model"',
    ),
    (
        "dataset.id",
        "data/train.jsonl is on this machine, where a job cannot read it",
        'hf upload ann/train data/train.jsonl --repo-type dataset --private, then dataset="ann/train"',
    ),
    ("eval_dataset.id", "./saved does not exist on this machine", "check the path"),
    (
        "chat_template_path",
        "chat.jinja is on this machine, where a job cannot read it",
        "hf upload ann/chat.jinja chat.jinja --private, then chat_template_path with that id",
    ),
]
