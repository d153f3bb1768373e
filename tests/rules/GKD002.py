from __future__ import annotations

BAD = {"method": "distillation", "beta": 1.5}
GOOD = {"method": "distillation", "beta": 0.5}
EXPECTED = [("beta", "1.5 is not between 0 and 1", "beta=1.0")]
