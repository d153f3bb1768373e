"""What is tested of each training method, and by which test: a part of the page on methods.

A method has what a test of its own shows, by the list of tests that pytest collects.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.specs.registry import METHODS

ROOT = Path(__file__).resolve().parents[2]

_TRAINED = "tests/e2e/test_methods.py"
_PPO = f"{_TRAINED}::test_ppo_trains_under_its_own_pins"


@dataclass(frozen=True, slots=True)
class Aspect:
    """Something that each method supports.

    Attributes:
        name: The table's column.
        shows: What its test shows.
        test: Name of the test for pytest, with ``METHOD`` for the method's name.
        others: The tests of methods with a separate one.
        without: Methods that do not support it; the test is that of the rule that says so.
    """

    name: str
    shows: str
    test: str
    others: dict[str, str] = field(default_factory=dict[str, str])
    without: frozenset[str] = frozenset()

    def proof(self, method: str) -> str:
        """The test that shows it for a method."""
        return self.others.get(method, self.test.replace("METHOD", method))

    def cell(self, method: str, tests: Set[str]) -> str:
        """What the table says of a method, given the tests that exist."""
        if self.proof(method) not in tests:
            return "not tested"
        return "refused" if method in self.without else "yes"


ASPECTS = (
    Aspect(
        "spec",
        "a spec is saved and read back, with the same digest",
        "tests/specs/test_normal_form.py::test_the_normal_form_is_read_back[METHOD]",
    ),
    Aspect(
        "script",
        "the example in `scripts/` is what its spec renders to",
        "tests/rendering/test_scripts.py::test_an_example_is_what_its_spec_renders_to[train_METHOD_example]",
    ),
    Aspect(
        "training",
        "two steps of all weights, with a loss, a checkpoint after each, and tracked metrics",
        f"{_TRAINED}::test_it_trains_all_weights[METHOD]",
        {"ppo": f"{_PPO}[all weights]"},
    ),
    Aspect(
        "evaluation",
        "an evaluation at the second step, in the log and in the tracker",
        f"{_TRAINED}::test_it_trains_all_weights[METHOD]",
        {"ppo": f"{_PPO}[all weights]"},
    ),
    Aspect(
        "LoRA",
        "the same with an adapter, which is what is saved",
        f"{_TRAINED}::test_it_trains_an_adapter[METHOD]",
        {"ppo": f"{_PPO}[adapter]"},
    ),
    Aspect(
        "two processes",
        "the same in two processes of one machine, over gloo",
        f"{_TRAINED}::test_two_processes_train[METHOD]",
        {"ppo": f"{_TRAINED}::test_two_processes_train_ppo[all weights]"},
    ),
    Aspect(
        "resuming",
        "the second step, from the checkpoint of the first",
        f"{_TRAINED}::test_it_resumes[METHOD]",
        {"ppo": "tests/rules/test_rules.py::test_bad_is_told[PPO002]"},
        frozenset({"ppo"}),
    ),
)
"""The columns of the table."""


@functools.cache
def collected() -> frozenset[str]:
    """The tests that exist, of all files that the table names.

    Raises:
        HFTError: pytest could not collect them.
    """
    files = sorted({aspect.proof(method).split("::")[0] for aspect in ASPECTS for method in METHODS})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HFTError(f"pytest could not collect the tests of the methods: {(done.stdout + done.stderr)[-2000:]}")
    return frozenset(done.stdout.splitlines())


def proofs(page: object) -> str:
    """Each method and what is tested of it, then the tests."""
    header, tests = ["Method", *(aspect.name for aspect in ASPECTS)], collected()
    rows = [[f"`{method}`", *(aspect.cell(method, tests) for aspect in ASPECTS)] for method in METHODS]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    told = [f"- {aspect.name}: {aspect.shows}. `{aspect.test}`{_exceptions(aspect)}" for aspect in ASPECTS]
    return f"{table}\n\n{chr(10).join(told)}"


def _exceptions(aspect: Aspect) -> str:
    words = [
        f"; `{method}`{' is refused' if method in aspect.without else ''}: `{test}`"
        for method, test in aspect.others.items()
    ]
    return "".join(words)
