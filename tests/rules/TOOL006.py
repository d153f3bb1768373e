from __future__ import annotations


class Silent:
    def reset(self, **kwargs): ...

    def get_reward(self):
        self.paid = 1


class Wordy:
    def reset(self, **kwargs): ...

    def get_reward(self, completion):
        return f"{completion}"


class Scoring:
    def reset(self, **kwargs): ...

    async def get_reward(self, scale=1.0):
        return scale * 2


BAD = {"method": "grpo", "environment_factory": {"silent": Silent, "wordy": Wordy}}
GOOD = {"method": "grpo", "environment_factory": {"scoring": Scoring}}
EXPECTED = [
    ("environment_factory.silent", "Silent.get_reward returns nothing: return a number", ""),
    (
        "environment_factory.wordy",
        "Wordy.get_reward needs completion, and TRL passes nothing: keep what it scores in the environment",
        "",
    ),
    ("environment_factory.wordy", "Wordy.get_reward returns a text: return a number", ""),
]
