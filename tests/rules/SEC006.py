from __future__ import annotations

BAD = {"secrets": ["WANDB_API_KEY=0123456789abcdef", "HF_TOKEN", "=0123456789abcdef"]}
GOOD = {"secrets": ["WANDB_API_KEY"]}
EXPECTED = [
    (
        "secrets",
        "WANDB_API_KEY is given with its value, which would be written into the script: set it where you submit",
        'secrets=["WANDB_API_KEY", "HF_TOKEN", "NAME"]',
    ),
    (
        "secrets",
        "NAME is given with its value, which would be written into the script: set it where you submit",
        'secrets=["WANDB_API_KEY", "HF_TOKEN", "NAME"]',
    ),
]
