from __future__ import annotations

BAD = {"hardware": {"flavor": "a100-large", "strategy": "fsdp2"}}
GOOD = {"hardware": {"flavor": "a100x4", "strategy": "fsdp2"}}
EXPECTED = [
    (
        "hardware.strategy",
        "a100-large has one GPU, so there is nothing to shard over",
        'hardware=hft.Hardware(flavor="a100-large", strategy="auto")',
    )
]
