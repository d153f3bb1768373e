from __future__ import annotations

BAD = {"method": "script", "hardware": {"flavor": "l4x1", "stop_if_over": True, "attempts": 2}}
GOOD = {"method": "script", "hardware": {"flavor": "l4x1"}}
EXPECTED = [
    (
        "hardware.stop_if_over",
        "what a script should take is not known, so it is not stopped",
        'hardware=hft.Hardware(flavor="l4x1", attempts=2)',
    ),
    (
        "hardware.attempts",
        "whether each of 2 attempts begins anew is up to the script",
        'hardware=hft.Hardware(flavor="l4x1", stop_if_over=True)',
    ),
]
