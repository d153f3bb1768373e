from __future__ import annotations

BAD = {"hardware": {"strategy": "zero3", "deepspeed": {"zero_optimization": {"stage": 2}}}}
GOOD = {"hardware": {"strategy": "user", "deepspeed": {"zero_optimization": {"stage": 2}}}}
EXPECTED = [
    (
        "hardware.deepspeed",
        'contradicts strategy="zero3"',
        'hardware=hft.Hardware(strategy="user", deepspeed={"zero_optimization": {"stage": 2}})',
    )
]
