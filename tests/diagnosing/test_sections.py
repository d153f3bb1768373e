"""Which part of a log is looked at, and how much of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.running.failing import Excerpt, read_failing
from hfjobs_trainer.running.signatures import signatures

FOLDER = Path(__file__).parent
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of 14.56 GiB"


def event(kind: str, **fields: object) -> str:
    return json.dumps({"event": f"hft.{kind}", "time": 1767225600.0, **fields})


def recorded(name: str) -> str:
    return (FOLDER / "logs" / f"{name}.txt").read_text(encoding="utf-8")


def healthy(name: str) -> str:
    return (FOLDER / "healthy" / f"{name}.txt").read_text(encoding="utf-8")


def codes(text: str, exit_code: int | None = None) -> list[str]:
    return [each.code for each in hft.diagnose(text, exit_code)]


@pytest.mark.parametrize("name", ["sft", "grpo", "typical_warnings"])
def test_a_log_that_is_healthy_at_its_end_gives_nothing(name: str) -> None:
    for failed in ("RUN101.training", "RUN301.missing_column_sft", "RUN105.killed", "RUN206.gateway"):
        assert codes(f"{recorded(failed)}\n{healthy(name)}") == []


def test_a_run_that_failed_after_a_healthy_one_is_explained() -> None:
    assert codes(healthy("sft") + recorded("RUN301.missing_column_sft")) == ["RUN301"]


def test_prefixes_bars_and_colours_hide_nothing() -> None:
    line = f"\x1b[31m  3%|▎         | 3/100 [00:12<06:20,  3.92s/it]\r[node 1] [rank3]: {OOM}\x1b[0m"
    assert codes(line) == ["RUN101"]
    assert codes(f"(EngineCore_DP0 pid=68) ERROR 11-30 14:18:18 [core.py:708] {OOM}") == ["RUN101"]


def test_the_first_cause_among_processes_counts_and_what_follows_from_it_is_not_told() -> None:
    echoes = recorded("RUN508.timeout") + recorded("RUN507.nccl")
    assert codes(echoes + recorded("RUN101.training").partition("Traceback")[2] + OOM)[0] == "RUN101"
    assert "RUN508" in codes(recorded("RUN508.timeout"))


def test_a_process_that_failed_while_another_told_of_progress_is_found_if_the_run_is_known_to_have_failed() -> None:
    log = "\n".join([event("log", step=3), OOM, event("log", step=4)])
    assert codes(log) == []
    assert codes(log, 1) == ["RUN101"]


def test_what_an_exception_long_ago_said_does_not_count() -> None:
    old = recorded("RUN301.missing_column_sft").replace("'text'", "'old'")
    calm = "\n".join(f"loading shard {number}" for number in range(200))
    found = hft.diagnose(f"{old}\n{calm}\n{recorded('RUN301.missing_column_dpo')}")
    assert found[0].cause == "The dataset has no column chosen, which the trainer reads."


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (75, "RUN005"),
        (76, "RUN001"),
        (77, "RUN002"),
        (127, "RUN110"),
        (132, "RUN109"),
        (135, "RUN107"),
        (137, "RUN105"),
        (139, "RUN108"),
        (143, "RUN008"),
    ],
)
def test_an_exit_code_alone_says_something(code: int, expected: str) -> None:
    assert codes("starting\n", code) == [expected]
    assert codes(recorded("RUN701.no_module"), code) == ["RUN701"]


@pytest.mark.parametrize("code", [None, 0, 1, 2, 255])
def test_nothing_known_gives_nothing(code: int | None) -> None:
    assert hft.diagnose("", code) == ()
    assert hft.diagnose("Traceback (most recent call last):\nFrobnicationError: no\n", code) == ()


def test_a_larger_gpu_is_named_by_what_the_log_says_of_this_one() -> None:
    fix = hft.diagnose(OOM)[0].fix
    assert 'hardware="l4x1"' in fix or 'hardware="a10g-small"' in fix
    assert "hardware=" not in hft.diagnose("torch.OutOfMemoryError: CUDA out of memory.")[0].fix


def test_a_secret_in_a_log_is_not_repeated() -> None:
    token = "hf_" + "a" * 34
    found = hft.diagnose(f"ValueError: A message has the unknown role '{token}'.")
    assert token not in str(found)
    assert found[0].code == "RUN308"


def test_the_beginning_and_the_end_of_a_huge_log_are_read() -> None:
    filling = "a line of the log\n" * 200_000
    assert codes(f"{filling}{recorded('RUN101.training')}") == ["RUN101"]
    excerpt = Excerpt()
    for line in [*filling.splitlines(), *recorded("RUN101.training").splitlines()]:
        excerpt.add(line)
    assert len(excerpt.text) < 2_000_000
    assert codes(excerpt.text) == ["RUN101"]
    assert codes(f"{'x' * 5_000_000}\n{OOM}") == ["RUN101"]


HOSTILE = {
    "one long line": "(" * 2_000_000,
    "words": "Error: RuntimeError: OSError: '" * 60_000,
    "tracebacks": "Traceback (most recent call last):\n" * 60_000,
    "key errors": "KeyError: 'x'\n" * 140_000,
    "frames": '  File "/data/script.py", line 1, in f\n    f()\n' * 40_000,
    "escapes": "\x1b[" * 700_000 + "\x1b]" * 100_000,
    "bars": " 3%|" * 500_000,
    "prefixes": "[rank0]: " * 220_000,
    "spaces": " " * 2_000_000,
    "braces": '{"event": "hft.' * 130_000,
    "dots": "a." * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_log_is_read_all_the_same(name: str) -> None:
    """A pattern that backtracks without bound would not come to an end here."""
    hft.diagnose(HOSTILE[name], 1)
    line = HOSTILE[name][:2_000_000].replace("\n", " ")
    for signature in signatures():
        for strict, anywhere in signature.patterns:
            strict.match(line)
            anywhere.search(line[:20_000])
        for pattern in (*signature.status, signature.near, signature.far):
            if pattern is not None:
                pattern.search(line[:20_000])
    assert read_failing(HOSTILE[name]).lines is not None


def test_random_bytes_are_no_reason_to_fail() -> None:
    chance = random.Random(0)
    for _ in range(20):
        hft.diagnose("".join(chr(chance.randrange(1, 0x2FFF)) for _ in range(5_000)), 1)


def test_a_diagnosis_is_short_as_text_and_complete_as_html() -> None:
    found = hft.diagnose(recorded("RUN701.no_module"))[0]
    assert repr(found).startswith("Diagnosis('RUN701', 'The script imports cv2")
    assert str(found).splitlines()[1] == '  fix: `extra_dependencies=["opencv-python-headless"]`'
    shown = found._repr_html_()
    assert found.source in shown
    assert "<script" not in hft.Diagnosis("RUN701", "<script>", "", "")._repr_html_()
