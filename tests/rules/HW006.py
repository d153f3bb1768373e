from __future__ import annotations

BAD = {"hardware": {"flavor": "a10g-largex4", "strategy": "single"}}
GOOD = {"hardware": {"flavor": "a10g-large", "strategy": "single"}}
EXPECTED = [
    (
        "hardware.strategy",
        "3 of the 4 GPUs of a10g-largex4 would be idle",
        'hardware=hft.Hardware(flavor="a10g-largex4", strategy="auto")',
    )
]
