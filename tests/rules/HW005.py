from __future__ import annotations

BAD = {"hardware": {"flavor": "a100-large", "max_usd_per_hour": 2.0}}
GOOD = {"hardware": {"flavor": "a10g-large", "max_usd_per_hour": 2.0}}
EXPECTED = [
    (
        "hardware.max_usd_per_hour",
        "a100-large costs $2.50/h, above max_usd_per_hour=2",
        'hardware=hft.Hardware(flavor="auto", max_usd_per_hour=2.0)',
    )
]
