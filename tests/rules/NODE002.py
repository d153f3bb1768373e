from __future__ import annotations

BAD = {"hardware": {"flavor": "a10g-large", "nodes": 2, "strategy": "single"}, "use_cpu": True}
GOOD = {"hardware": {"flavor": "a10g-large", "nodes": 2, "strategy": "fsdp2"}}
EXPECTED = [
    (
        "hardware.strategy",
        '"single" trains on one GPU, of one of the 2 nodes that train',
        'hardware=hft.Hardware(flavor="a10g-large", strategy="auto", nodes=2)',
    ),
    ("use_cpu", "2 nodes would not use their GPUs", "use_cpu=False"),
]
