from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "attempts": 3, "max_usd": 9.0}, "timeout": "10m"}
GOOD = {"hardware": {"flavor": "l4x1", "attempts": 3, "max_usd": 9.0}, "timeout": "3h"}
EXPECTED = [
    (
        "hardware.attempts",
        "a failed attempt is not continued but begun anew, so the run may cost 3 times as much",
        'output=hft.Output(checkpoints="bucket")',
    )
]
