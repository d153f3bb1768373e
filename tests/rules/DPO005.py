from __future__ import annotations

BAD = {"method": "dpo", "sync_ref_model": True, "precompute_ref_log_probs": True}
GOOD = {"method": "dpo", "sync_ref_model": True}
EXPECTED = [
    ("sync_ref_model", "with precompute_ref_log_probs the reference model cannot change", "sync_ref_model=False")
]
