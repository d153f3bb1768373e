"""Environments as a spec holds them: captured, saved, rendered, and what their source says of them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

ROOMS = ("hall", "cellar")


class Place:
    """Where all start."""

    def reset(self, **row: Any) -> str | None:
        self.room = ROOMS[0]
        return f"You are in the {self.room}."


class Maze(Place):
    def __init__(self, size: int = 2) -> None:
        self.size = size

    def go(self, room: str) -> str:
        """Go to another room.

        Args:
            room: Where to.
        """
        self.room = room
        return room if room in ROOMS else "a wall"

    def get_reward(self) -> float:
        return float(self.room == ROOMS[-1])


class main:  # noqa: N801
    def reset(self, **row: Any) -> None: ...

    def get_reward(self) -> float:
        return 1.0


class Keyed(Place):
    key = "hf_" + "A" * 34

    def get_reward(self) -> float:
        return 1.0


class Importing(Place):
    def get_reward(self) -> float:
        import gymnasium

        return float(gymnasium.version)


def make_maze() -> Maze:
    return Maze(3)


def grpo(factory: Any, **fields: Any) -> hft.GRPO:
    return hft.GRPO(model="me/model", dataset="me/data", environment_factory=factory, **fields)


def errors(spec: hft.GRPO, facts: Facts | None = None) -> list[tuple[str, str]]:
    report = hft.check(spec, facts=facts or Facts(), backend="local")
    return [(item.code, item.path) for item in report.problems if item.severity == "error"]


FACTORIES = {
    "class": Maze,
    "function": make_maze,
    "partial": functools.partial(Maze, size=4),
    "several": {"maze": Maze, "again": Maze, "large": make_maze, 'a "b"': functools.partial(Maze, size=4)},
}


@pytest.mark.parametrize("name", FACTORIES)
def test_environments_travel(name: str, tmp_path: Path) -> None:
    spec = grpo(FACTORIES[name])
    assert errors(spec) == []
    assert hft.GRPO(**{key: value for key, value in spec.to_dict().items() if key != "method"}) == spec
    (tmp_path / "spec.json").write_text(spec.to_json())
    script = tmp_path / "script.py"
    script.write_text(hft.render(spec, facts=Facts()))
    assert hft.load(str(tmp_path / "spec.json")) == hft.load(str(script)) == spec
    text, _, rest = script.read_text().partition("\ndef main(")
    assert text.count("class Place:") == text.count("class Maze(Place):") == text.count("ROOMS = (") == 1
    assert text.index("ROOMS = (") < text.index("class Place:") < text.index("class Maze(")
    assert "reward_funcs" not in rest.partition("    train(trainer")[0]
    assert len(json.dumps(spec.to_dict())) < 20_000


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (Maze(), "takes the class Maze, or a function that makes one, not one of its instances"),
        (lambda: Maze(2), "a lambda has no name that the script could use: write it as `def make(): return ...`"),
        ({}, "names no environment"),
        ("Maze", "takes a class, a function that makes an instance, or a dict of these by name, not str"),
        ({"maze": "Maze"}, "takes a class, a function that makes an instance, or a dict of these by name, not str"),
        ({"name": "Maze", "source": "class Hall: ..."}, "the source of 'Maze' must be one class of that name"),
    ],
)
def test_what_is_no_environment_is_refused(factory: Any, why: str) -> None:
    with pytest.raises(SpecError) as raised:
        grpo(factory)
    assert [(item.code, item.path, item.why) for item in raised.value.problems] == [
        ("SPEC003", "environment_factory", why)
    ]


def test_something_must_score() -> None:
    with pytest.raises(SpecError, match="reward_funcs: is required"):
        hft.GRPO(model="me/model", dataset="me/data")
    assert errors(grpo(Place)) == [("GRPO019", "reward_funcs")]
    assert errors(grpo(Place, reward_funcs="think_format_reward")) == []


def test_rules_about_code_are_rules_about_environments() -> None:
    assert errors(grpo(main)) == [("GRPO013", "environment_factory")]
    assert errors(grpo(Importing)) == [("GRPO012", "environment_factory")]
    assert errors(grpo(Importing, extra_dependencies=["gymnasium"])) == []


def test_no_secret_travels() -> None:
    source = 'class Shop:\n    key = "hf_' + "A" * 34 + '"\n\n    def reset(self, **row): ...\n'
    spec = grpo({"name": "Shop", "source": source}, reward_funcs="think_format_reward")
    assert errors(spec) == [("SEC002", "environment_factory.source")]


def test_rewards_may_see_the_environments() -> None:
    def explored(completions: list[Any], environments: list[Any], **columns: Any) -> list[float]:
        return [float(len(item.room)) for item in environments]

    known = Facts(dataset=DatasetFacts(exists=True, columns=("prompt",), conversational=True))
    assert errors(grpo(Maze, reward_funcs=explored), known) == []
    alone = hft.GRPO(model="me/model", dataset="me/data", reward_funcs=explored)
    assert errors(alone, known) == [("GRPO014", "reward_funcs")]


def test_rows_are_looked_at(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    chat = [{"role": "user", "content": "Find the cellar."}]
    lines = [{"prompt": chat, "kind": name} for name in ("maze", "labyrinth")]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = hft.Dataset(id=str(rows), columns={"kind": "environment"})
    spec = grpo({"maze": Maze}).replace(dataset=dataset)
    report = hft.check(spec, offline=True, backend="local")
    found = [item.why for item in report.problems if item.severity == "error"]
    assert found == [f'rows of {rows} name "labyrinth"; it has maze']
    assert not [item for item in report.unchecked if item.code in ("TOOL003", "TOOL004", "TOOL005")]


def test_turns_are_planned() -> None:
    """A completion of several turns takes longer to write, and no more memory; what bounds them is told."""
    common = {"max_steps": 10, "hardware": "a10g-large", "hub_model_id": "me/trained"}
    facts = Facts(
        model=ModelFacts(
            exists=True,
            num_parameters=494_032_768,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            vocab_size=151_936,
            dtype="bfloat16",
        ),
        dataset=DatasetFacts(exists=True, columns=("prompt",), num_rows=1000, conversational=True),
    )
    known = [hft.estimate(grpo(Maze, max_tool_calling_iterations=most, **common), facts=facts) for most in (0, 2, None)]
    durations = [item.duration for item in known if item.duration is not None]
    seconds = [item.seconds.expected for item in durations]
    assert seconds[0] < seconds[1] < seconds[2]
    assert known[0].memory == known[1].memory == known[2].memory is not None
    assert [any("rounds of calls" in text for text in item.assumed) for item in durations] == [False, False, True]
