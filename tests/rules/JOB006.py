from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "attempts": 3, "max_usd": 9.0}}
GOOD = {"hardware": {"flavor": "l4x1"}}
EXPECTED = [
    (
        "hardware.attempts",
        "a failed attempt is not continued but begun anew, so the run may cost 3 times as much",
        'hardware=hft.Hardware(flavor="l4x1", max_usd=9.0)',
    )
]
