from __future__ import annotations

BAD = {"optim": "adamw_torch_8bit", "attn_implementation": "flash_attention_2", "use_liger_kernel": True}
GOOD = {"optim": "adamw_torch_8bit", "attn_implementation": "sdpa", "extra_dependencies": ["torchao==0.18.0"]}
EXPECTED = [
    (
        "optim",
        '"adamw_torch_8bit" needs the package torchao, which the script does not install',
        'extra_dependencies=["torchao==0.18.0"]',
    ),
    (
        "use_liger_kernel",
        "it needs the package liger-kernel, which the script does not install",
        'extra_dependencies=["liger-kernel==0.8.5"]',
    ),
    (
        "attn_implementation",
        '"flash_attention_2" needs the package flash-attn, which the script does not install',
        '"sdpa"; or "kernels-community/flash-attn2" with extra_dependencies=["kernels"]',
    ),
]
