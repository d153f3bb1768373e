from __future__ import annotations

BAD = {"timeout": "3h", "hardware": {"flavor": "a10g-large", "max_usd": 1.5, "max_hours": 2.0}}
GOOD = {"timeout": "3h", "hardware": {"flavor": "a10g-large", "max_usd": 4.5, "max_hours": 3.0}}
EXPECTED = [
    (
        "hardware.max_hours",
        "3h, above max_hours=2, which ends the job after 2h",
        'hardware=hft.Hardware(flavor="a10g-large", max_usd=4.5, max_hours=3.0)',
    ),
    (
        "hardware.max_usd",
        "3h at $1.50/h is $4.50, above max_usd=1.5, which ends the job after 1h",
        'hardware=hft.Hardware(flavor="a10g-large", max_usd=4.5, max_hours=3.0)',
    ),
]
