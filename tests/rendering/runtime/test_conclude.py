"""A run that trained nothing does not end well."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hfjobs_trainer.rendering.runtime.conclude import assert_trained


def test_a_run_without_a_step_fails_and_reports_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=0, log_history=[]))

    with pytest.raises(SystemExit, match="No optimizer step was taken"):
        assert_trained(trainer)

    assert capsys.readouterr().out == ""
