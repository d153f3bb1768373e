from __future__ import annotations

BAD = {
    "output": {"checkpoints": "bucket"},
    "save_only_model": True,
    "ignore_data_skip": True,
    "save_strategy": "no",
}
GOOD = {"save_only_model": True, "ignore_data_skip": True}
EXPECTED = [
    (
        "save_only_model",
        "checkpoints without the optimizer's states are none that the run could go on from",
        "save_only_model=False",
    ),
    (
        "ignore_data_skip",
        "a run that goes on would see the first rows again, and never the last",
        "ignore_data_skip=False",
    ),
    (
        "save_strategy",
        "no checkpoint is written while it trains, so after a failure the run begins anew",
        'save_strategy="steps"',
    ),
]
