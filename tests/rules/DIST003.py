from __future__ import annotations

BAD = {"optim": "adamw_8bit", "hardware": {"strategy": "fsdp2"}}
GOOD = {"optim": "adamw_8bit", "hardware": {"strategy": "ddp"}}
EXPECTED = [
    ("optim", "adamw_8bit is bitsandbytes', which cannot work on FSDP2's parts", '"adamw_torch_fused"'),
]
