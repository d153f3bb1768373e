from __future__ import annotations

BAD = {"hardware": "cpu-upgrade"}
GOOD = {"hardware": "cpu-upgrade", "use_cpu": True}
EXPECTED = [("hardware.flavor", "cpu-upgrade has no GPU (use_cpu=True says that it is meant)", 'hardware="auto"')]
