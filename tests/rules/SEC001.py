from __future__ import annotations

BAD = {"env": {"WANDB_API_KEY": "0123456789abcdef", "EXTRA": "hf_" + "a" * 34, "URI": "https://u:hunter2@host"}}
GOOD = {
    "env": {"TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "100", "USE_API_KEY": "1", "URI": "http://host:80/a@b"},
    "secrets": ["WANDB_API_KEY"],
}
EXPECTED = [
    (
        "env",
        "WANDB_API_KEY looks like a secret, and everyone who can see the job can read env: set it where you submit",
        'env={}, secrets=["WANDB_API_KEY", "EXTRA", "URI"]',
    ),
    (
        "env",
        (
            "the value of EXTRA is a Hugging Face token, and everyone who can see the job can read env: set it "
            "where you submit"
        ),
        'env={}, secrets=["WANDB_API_KEY", "EXTRA", "URI"]',
    ),
    (
        "env",
        (
            "the value of URI is a URL with a password, and everyone who can see the job can read env: set it "
            "where you submit"
        ),
        'env={}, secrets=["WANDB_API_KEY", "EXTRA", "URI"]',
    ),
]
