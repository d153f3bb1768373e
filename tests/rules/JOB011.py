from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "ssh": True}}
GOOD = {"hardware": {"flavor": "l4x1"}}
EXPECTED = [
    (
        "hardware.ssh",
        "all who may write in its namespace can enter the job and read its secrets, while it is billed as usual",
        'hardware=hft.Hardware(flavor="l4x1")',
    )
]
