from __future__ import annotations

BAD = {"optim": "schedule_free_adamw", "attn_implementation": "flash_attention_2"}
GOOD = {"optim": "schedule_free_adamw", "attn_implementation": "sdpa", "extra_dependencies": ["schedulefree==1.4.1"]}
EXPECTED = [
    (
        "optim",
        '"schedule_free_adamw" needs the package schedulefree, which the script does not install',
        'extra_dependencies=["schedulefree"]',
    ),
    (
        "attn_implementation",
        '"flash_attention_2" needs the package flash-attn, which the script does not install',
        '"sdpa"; or "kernels-community/flash-attn2" with extra_dependencies=["kernels"]',
    ),
]
