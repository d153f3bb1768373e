from __future__ import annotations

BAD = {"hardware": {"flavor": "a10g-large", "num_gpus": 4}}
GOOD = {"hardware": {"flavor": "a10g-largex4", "num_gpus": 4}}
EXPECTED = [("hardware.num_gpus", "a10g-large has 1", 'hardware=hft.Hardware(flavor="a10g-large", num_gpus=1)')]
