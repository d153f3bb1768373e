from __future__ import annotations

BAD = {"method": "dpo", "loss_type": "apo_zero", "f_divergence_type": "js_divergence"}
GOOD = {"method": "dpo", "loss_type": "sigmoid", "f_divergence_type": "js_divergence"}
EXPECTED = [
    ("f_divergence_type", '"js_divergence" is not defined for the loss "apo_zero"', 'f_divergence_type="reverse_kl"')
]
