from __future__ import annotations

from typing import Any

_BEST: dict[str, Any] = {
    "eval_fraction": 0.1,
    "eval_strategy": "steps",
    "load_best_model_at_end": True,
    "hardware": {"flavor": "a10g-large", "nodes": 2},
}
BAD = _BEST
GOOD = {**_BEST, "save_on_each_node": True}
EXPECTED = [
    (
        "load_best_model_at_end",
        "the best checkpoint would be on the disk of the first node only, and every node loads it",
        "save_on_each_node=True",
    )
]
