from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts


class Shop:
    def reset(self, **kwargs):
        return "Come in."


def _known(conversational: bool) -> Facts:
    return Facts(dataset=DatasetFacts(exists=True, columns=("prompt",), conversational=conversational))


BAD = {"method": "grpo", "environment_factory": Shop, "max_completion_length": None}
GOOD = {"method": "grpo", "environment_factory": Shop}
FACTS, GOOD_FACTS = _known(False), _known(True)
UNCHECKED = "whether the prompts of me/data are messages"
EXPECTED = [
    (
        "max_completion_length",
        "environment_factory needs a bound for an answer with all its calls",
        "max_completion_length=512",
    ),
    (
        "environment_factory",
        "the prompts of me/data are texts, and calls are made in messages: write each as "
        '[{"role": "user", "content": ...}]',
        "",
    ),
]
