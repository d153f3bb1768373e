from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts


class Bare:
    def __init__(self, size):
        self.size = size

    def look(self) -> str:
        """Look."""
        return "nothing"


class Gym:
    def reset(self, seed=None, **kwargs):
        return "a hall", {}


class Waiting:
    async def reset(self, **kwargs):
        return "a hall"


class Forgetful:
    def reset(self, prompt):
        self.prompt = prompt


class Asking:
    def reset(self, goal, **kwargs):
        self.goal = goal


class Plain:
    def reset(self, prompt, answer=None):
        self.answer = answer
        return f"Answer {len(prompt)} of these."


BAD = {
    "method": "grpo",
    "environment_factory": {"bare": Bare, "gym": Gym, "waiting": Waiting, "forgetful": Forgetful, "asking": Asking},
}
GOOD = {"method": "grpo", "environment_factory": {"plain": Plain}}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "answer", "environment"), conversational=True))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "environment_factory.bare",
        "Bare cannot be made without size, and TRL passes nothing: give a default, or a function without parameters "
        "that makes one",
        "",
    ),
    (
        "environment_factory.bare",
        "Bare has no method reset, which TRL calls before each answer: add `def reset(self, **kwargs): ...`",
        "",
    ),
    (
        "environment_factory.gym",
        "Gym.reset returns a tuple, and TRL appends it to the prompt: return a text, or nothing",
        "",
    ),
    (
        "environment_factory.waiting",
        "Waiting.reset is async, and TRL does not await it: define it without async",
        "",
    ),
    (
        "environment_factory.forgetful",
        "Forgetful.reset does not take all that TRL passes by keyword, the columns of the dataset, as "
        "`def reset(self, prompt, **kwargs)` does",
        "",
    ),
    (
        "environment_factory.asking",
        "Asking.reset needs goal, which is no column of me/data; it has prompt, answer",
        "",
    ),
]
