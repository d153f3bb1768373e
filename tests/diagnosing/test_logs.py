"""Every recorded log of a failed run gives its code first, and no log of a healthy run gives any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.running.diagnose import MOST
from hfjobs_trainer.running.signatures import signatures

FOLDER = Path(__file__).parent
FAILED = sorted((FOLDER / "logs").glob("*.txt"))
"""``CODE.what.txt``: recorded from runs on this package's tiny models, or shortened from public reports."""
HEALTHY = sorted((FOLDER / "healthy").glob("*.txt"))
BY_STATUS = {"RUN004", "RUN007"}
"""Codes that no log gives, since what tells them is the backend's explanation."""


def read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:  # progress bars have carriage returns
        return file.read()


@pytest.mark.parametrize("path", FAILED, ids=lambda path: path.stem)
def test_a_failed_run_is_explained(path: Path) -> None:
    found = hft.diagnose(read(path))
    assert [each.code for each in found][:1] == [path.name.split(".")[0]]
    assert len(found) <= MOST
    for each in found:
        assert "..." not in each.cause or "..." in read(path), "a name of the text is not known"
        assert each.source.startswith(("https://", "references/"))
        assert len(str(each)) < 900


@pytest.mark.parametrize("exit_code", [None, 0])
@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.stem)
def test_a_healthy_run_has_nothing_to_explain(path: Path, exit_code: int | None) -> None:
    for disguise in (str, _each("[rank0]: "), _each("2026-11-30T14:57:43.645Z ")):
        assert hft.diagnose(disguise(read(path)), exit_code) == ()


def _each(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(prefix + line for line in text.split("\n"))


GOOD_BEGINNING = read(FOLDER / "healthy" / "sft.txt").split('{"event": "hft.end"')[0]
LAUNCHERS_END = read(FOLDER / "logs" / "RUN513.child.txt").split("\n", 1)[1]
FILLING = "\n".join(f"loading shard {number}" for number in range(500))
DISGUISES: dict[str, Callable[[str], str]] = {
    "of a rank": _each("[rank3]: "),
    "of a node": _each("[node 1] "),
    "of a rank of a node": _each("[node 0] [rank0]: "),
    "with a clock": _each("2026-11-30T14:57:43.645Z "),
    "with carriage returns": lambda text: text.replace("\n", "\r\n"),
    "after a good beginning": lambda text: f"{GOOD_BEGINNING}\n{text}",
    "before the launcher's end": lambda text: f"{text}\n{LAUNCHERS_END}",
    "amid other lines": lambda text: f"{FILLING}\n{text}\nclosing\n",
}


@pytest.mark.parametrize(("number", "path"), [*enumerate(FAILED)], ids=lambda given: getattr(given, "stem", ""))
def test_a_log_is_seen_through_what_others_put_around_it(number: int, path: Path) -> None:
    """Each log in one disguise; the next log has the next one."""
    disguise = list(DISGUISES.values())[number % len(DISGUISES)]
    assert [each.code for each in hft.diagnose(disguise(read(path)), 1)][:1] == [path.name.split(".")[0]]


def test_every_signature_has_a_log() -> None:
    assert {path.name.split(".")[0] for path in FAILED} | BY_STATUS == {each.code for each in signatures()}
    assert len(HEALTHY) >= 15


@pytest.mark.parametrize("path", FAILED + HEALTHY, ids=lambda path: path.stem)
def test_a_recorded_log_tells_nothing_of_the_machine_it_was_recorded_on(path: Path) -> None:
    text = read(path)
    assert not any(word in text for word in ("/tmp/", "/root/", "127.0.0.1", "localhost", "hf_alice", "hf_bob"))
