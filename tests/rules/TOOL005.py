from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts


class Maze:
    def reset(self, **kwargs): ...


def _known(*named: str | None) -> Facts:
    columns = ("prompt", "environment")
    return Facts(dataset=DatasetFacts(exists=True, columns=columns, conversational=True, environments=named))


BAD = {"method": "grpo", "environment_factory": {"maze": Maze}}
GOOD = {"method": "grpo", "environment_factory": {"maze": Maze}}
FACTS, GOOD_FACTS = _known("maze", "labyrinth", None), _known("maze")
UNCHECKED = "the columns of me/data"
EXPECTED = [("environment_factory", 'rows of me/data name "labyrinth", none; it has maze', "")]
