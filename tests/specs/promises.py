"""What ``check``, ``plan``, ``load`` and the classes of specs promise, whatever they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hfjobs_trainer as hft
from hfjobs_trainer.errors import BackendError, HFTError, SpecError
from hfjobs_trainer.problems import Report
from hfjobs_trainer.specs.parse import DEFECT
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.script import Script

LONGEST = 20_000
"""Characters of the longest message."""


class Breach(NamedTuple):
    """A promise that did not hold: which, and what was seen."""

    kind: str
    seen: str


def _failed(what: str, error: BaseException) -> Breach:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    try:
        said = str(error)[:100]
    except BaseException:
        said = "?"
    return Breach(f"{what} raised {type(error).__name__}", f"{where}: {said}")


def _long(what: str, text: str) -> Breach | None:
    return Breach(f"{what} is long", f"{len(text):,} characters: {text[:100]!r}") if len(text) > LONGEST else None


def _told(what: str, error: HFTError) -> Breach | None:
    if isinstance(error, SpecError) and any(problem.code == DEFECT for problem in error.problems):
        return Breach(f"a defect in {what}", str(error)[:200])
    return _long(f"the message of {what}", str(error)) or _long(
        f"the table of {what}", "\n".join(error._message_lines())
    )


def breach_of_check(given: Any) -> Breach | None:
    """Whether ``check`` raises, or says too much."""
    try:
        report: Any = hft.check(given, offline=True)
    except BaseException as error:
        return _failed("check", error)
    if not isinstance(report, Report):
        return Breach("check returned something else", type(report).__name__)
    if any(problem.code == DEFECT for problem in report.problems):
        return Breach("a defect in check", str(report)[:200])
    return _long("a report", str(report)) or _long("the HTML of a report", report._repr_html_()[:20_000])


def breach_of_build(given: Any) -> Breach | None:
    """Whether building, replacing, planning or rendering raises anything but what is documented."""
    try:
        plain = isinstance(given, dict) and all(isinstance(name, str) for name in given)
    except BaseException:
        plain = False
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("plan", lambda: hft.plan(given, offline=True)),
        ("render", lambda: hft.render(given, offline=True)),
    ]
    if plain:
        fields = {name: value for name, value in dict.items(given) if name not in ("method", "self")}
        kind: Any = Script if type(given.get("method")) is str and given["method"] == "script" else METHODS["sft"]
        if type(given.get("method")) is str and given["method"] in METHODS:
            kind = METHODS[given["method"]]
        steps += [("building", lambda: _used(kind(**fields)))]
        usual: Any = Script("x.py") if kind is Script else METHODS["sft"](model="me/model", dataset="me/data")
        steps += [("replace", lambda: _used(usual.replace(**fields)))]
    for what, step in steps:
        try:
            step()
        except HFTError as error:
            if found := _told(what, error):
                return found
        except BaseException as error:
            return _failed(what, error)
    return None


def _used(spec: Any) -> None:
    """Look at a spec as its user would."""
    hash(spec)
    assert spec == spec.replace()
    assert len(repr(spec)) >= 0
    assert hft.check(spec.to_dict(), offline=True) is not None
    spec.to_json()


def breach_of_load(source: Any) -> Breach | None:
    """Whether ``load`` raises anything but what is documented."""
    try:
        _used(hft.load(source))
    except (SpecError, BackendError) as error:
        return _told("load", error)
    except BaseException as error:
        return _failed("load", error)
    return None
