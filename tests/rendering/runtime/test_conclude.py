"""A run that trained nothing does not end well."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hfjobs_trainer.rendering.runtime.stopping import Stop
from hfjobs_trainer.rendering.runtime.training import train


@pytest.mark.torch
def test_a_run_without_a_step_fails_and_reports_no_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")  # SIGTERM stays with the process that runs the tests
    trainer = SimpleNamespace(
        state=SimpleNamespace(global_step=0, log_history=[]),
        args=SimpleNamespace(push_to_hub=False),
        model=SimpleNamespace(parameters=list),
        add_callback=lambda _callback: None,
        train=lambda: None,
    )

    with pytest.raises(SystemExit, match="No optimizer step was taken"):
        train(trainer, Stop())

    assert capsys.readouterr().out == ""
