from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"method": "dpo", "max_length": 512, "truncation_mode": "keep_end", "precompute_ref_log_probs": True}
GOOD = {"method": "dpo", "max_length": None, "truncation_mode": "keep_end"}
FACTS = Facts(model=ModelFacts(is_vision=True), dataset=DatasetFacts(columns=("images", "chosen", "rejected")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    ("truncation_mode", "would cut off the image at the start of a row", "max_length=None"),
    ("precompute_ref_log_probs", "images are processed batch by batch, never ahead", "precompute_ref_log_probs=False"),
]
