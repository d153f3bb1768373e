from __future__ import annotations

BAD = {"method": "dpo", "loss_type": "aot", "use_weighting": True}
GOOD = {"method": "dpo", "loss_type": "sigmoid", "use_weighting": True}
EXPECTED = [
    ("use_weighting", 'the loss "aot" sorts the answers, so weights would meet other pairs', "use_weighting=False")
]
