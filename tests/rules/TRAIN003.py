from __future__ import annotations

BAD = {"lr_scheduler_type": "cosine_with_min_lr"}
GOOD = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}
EXPECTED = [
    (
        "lr_scheduler_kwargs",
        '"cosine_with_min_lr" needs min_lr or min_lr_rate',
        'lr_scheduler_kwargs={"min_lr_rate": 0.1}',
    ),
]
