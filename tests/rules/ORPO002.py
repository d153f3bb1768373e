from __future__ import annotations

BAD = {"method": "cpo", "eval_fraction": 0.1, "eval_strategy": "epoch", "generate_during_eval": True}
GOOD = BAD | {"tracking": {"report_to": "wandb"}}
EXPECTED = [
    (
        "generate_during_eval",
        "CPOTrainer logs the samples as a table of W&B, which is not installed",
        'tracking=hft.Tracking(report_to="wandb")',
    )
]
