"""The command that measures this machine: real runs of rendered scripts, as rows that the other benchmarks read."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import CASES, main
from benchmarks.measurements import read_measurements


@pytest.mark.torch
@pytest.mark.slow
def test_runs_are_measured_as_rows_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "measured.csv"
    main([str(out), "--size", "tiny", "--only", "sft-full", "dpo-lora"])

    full, lora = read_measurements(out)
    assert (full.tuning, lora.tuning) == ("full", "lora")
    for row in (full, lora):
        assert row.fitted
        assert row.peak_gib is not None
        assert 0.1 < row.peak_gib < 8
        assert not row.core
    assert [case.name for case in CASES if case.tuning == "qlora"] == ["sft-qlora"]
