"""What a mode is told of a run."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.trying.preview import preview_settings
from hfjobs_trainer.trying.smoke import settings_of


@pytest.mark.parametrize(
    ("fields", "trusted"),
    [({}, False), ({"trust_remote_code": True}, True), ({"model_init_kwargs": {"trust_remote_code": True}}, True)],
)
def test_code_of_a_model_runs_where_the_run_trusts_it(fields: dict[str, Any], trusted: bool) -> None:
    plan = hft.plan(hft.SFT(model="me/model", dataset="me/data", timeout="1h", **fields), offline=True)
    assert preview_settings(plan, 5)["model"]["trust_remote_code"] is trusted
    assert settings_of(plan, asks=False)["models"]["MODEL"]["trust_remote_code"] is trusted
