from __future__ import annotations

BAD = {"hardware": "cpu-upgrade"}
GOOD = {"hardware": "cpu-upgrade", "use_cpu": True}
EXPECTED = [
    ("hardware.flavor", "cpu-upgrade has no GPU", '"auto", or use_cpu=True if you mean it'),
]
