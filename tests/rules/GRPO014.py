from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts


def exact(completions, target, weight=1.0, **kwargs):
    return [weight * (completion == wanted) for completion, wanted in zip(completions, target, strict=True)]


BAD = {"method": "grpo", "reward_funcs": ["accuracy_reward", exact]}
GOOD = {
    "method": "grpo",
    "reward_funcs": ["accuracy_reward", exact],
    "dataset": {"id": "me/data", "columns": {"answer": "solution", "targets": "target"}},
}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "answer", "targets")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "reward_funcs",
        "accuracy_reward needs a column solution of me/data; it has answer, targets",
        'dataset=hft.Dataset(id="me/data", columns={"answer": "solution", "targets": "target"})',
    ),
    (
        "reward_funcs",
        "exact needs a column target of me/data; it has answer, targets",
        'dataset=hft.Dataset(id="me/data", columns={"answer": "solution", "targets": "target"})',
    ),
]
