from __future__ import annotations

BAD = {
    "method": "dpo",
    "dataset": {"id": "me/data", "streaming": True},
    "max_steps": 1,
    "precompute_ref_log_probs": True,
}
GOOD = {"method": "dpo", "dataset": "me/data", "max_steps": 1, "precompute_ref_log_probs": True}
EXPECTED = [
    (
        "precompute_ref_log_probs",
        "needs all rows before training, and the length of a streamed dataset is unknown",
        "precompute_ref_log_probs=False",
    )
]
