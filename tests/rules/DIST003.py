from __future__ import annotations

BAD = {"optim": "adamw_8bit", "hardware": {"strategy": "fsdp2"}}
GOOD = {"optim": "adamw_8bit", "hardware": {"strategy": "ddp"}}
EXPECTED = [
    (
        "optim",
        "adamw_8bit is an optimizer of bitsandbytes, which cannot update FSDP2's sharded parameters",
        'optim="adamw_torch_fused"',
    )
]
