"""The series of faults of runs on this machine, a small share of it."""

from __future__ import annotations

from benchmarks.faults.local import run


def test_no_promise_is_broken():
    section = run(scale=0.02, seed=1)
    assert section.violations == ()
    assert section.cells > 200
    assert [note.split(":")[0] for note in section.notes] == [
        "damaged files",
        "odd ids and roots",
        "killed supervisors",
        "cancels while it starts",
        "interrupts of submit",
        "full disks",
    ]
