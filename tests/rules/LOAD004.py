from __future__ import annotations

from hfjobs_trainer.specs.registry import METHODS

_TEXT = "model_name_or_path: me/model\ndataset_name: me/data\n"
BAD = ("run.yaml", _TEXT)
GOOD = ("sft_config.yaml", _TEXT)
EXPECTED = [
    (
        "",
        f"run.yaml is written for the trl command, but for which: one of {', '.join(METHODS)}?",
        'method="sft"',
    ),
]
