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
        "./my-model is on this machine, where a job cannot read it: push it, and give its id",
        "hf upload ann/my-model ./my-model --private",
    ),
    (
        "dataset.id",
        "data/train.jsonl is on this machine, where a job cannot read it: push it, and give its id",
        "hf upload ann/train data/train.jsonl --repo-type dataset --private",
    ),
    ("eval_dataset.id", "./saved does not exist on this machine", ""),
    (
        "chat_template_path",
        "chat.jinja is on this machine, where a job cannot read it: the id of a model stands for its template",
        "",
    ),
]
