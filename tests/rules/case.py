"""A rule's case: a bad spec with what must be said of it, and a good one.

Each module named after a code holds the parts of one case:

- ``BAD``, ``GOOD``: fields of the spec, beside those of ``base``.
- ``EXPECTED``: path, reason and fix of each problem, in order.
- ``FACTS``, ``GOOD_FACTS``, ``BACKEND``: what is known, for the good spec where it differs, and where it would run.
- ``UNCHECKED``: what the rule lacks where nothing is known, for those that need a fact.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.specs.registry import METHODS
from tests.specs.building import required

FOLDER = Path(__file__).parent
_OWN = {"case"}


@dataclass(frozen=True)
class Case:
    code: str
    bad: Any
    good: Any
    expected: list[tuple[str, str, str]]
    facts: Facts
    good_facts: Facts
    backend: str
    unchecked: str | None


def base(fields: dict[str, Any]) -> dict[str, Any]:
    """A spec with the fields that every spec of its method needs."""
    method = fields.get("method", "sft")
    if method == "script":
        return {"script": "train.py", **fields}
    return {"method": method, **required(method if method in METHODS else "sft"), **fields}


def codes() -> list[str]:
    return sorted(
        path.stem for path in FOLDER.glob("*.py") if path.stem not in _OWN and not path.stem.startswith("test_")
    )


@cache
def case(code: str) -> Case:
    spec = importlib.util.spec_from_file_location(f"rules_{code}", FOLDER / f"{code}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parts = vars(module)
    facts = parts.get("FACTS", Facts())
    return Case(
        code,
        parts["BAD"],
        parts["GOOD"],
        parts["EXPECTED"],
        facts,
        parts.get("GOOD_FACTS", facts),
        parts.get("BACKEND", "hub"),
        parts.get("UNCHECKED"),
    )
