from __future__ import annotations

import re

from hfjobs_trainer.facts import DatasetFacts, Facts

NUMBER = re.compile(r"\d+")


def said(completion):
    return completion[0]["content"]


def exact(completions, answer, **kwargs):
    return [float(said(completion) == right) for completion, right in zip(completions, answer, strict=True)]


def numbered(completions, **kwargs):
    return [float(bool(NUMBER.search(completion))) for completion in completions]


def either(completions, **kwargs):
    texts = [completion if isinstance(completion, str) else completion[0]["content"] for completion in completions]
    return [float(len(text.strip())) for text in texts]


BAD = {"method": "grpo", "reward_funcs": [exact, either]}
GOOD = {"method": "grpo", "reward_funcs": [numbered, either]}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "answer"), conversational=False))
UNCHECKED = "whether the prompts of me/data are messages"
EXPECTED = [
    (
        "reward_funcs",
        (
            'exact reads `completion[0]["content"]`, and the prompts of me/data are texts, so each completion is a '
            "text: use it as it is"
        ),
        "",
    )
]
