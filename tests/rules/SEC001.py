from __future__ import annotations

BAD = {"env": {"WANDB_API_KEY": "0123456789abcdef", "EXTRA": "hf_" + "a" * 34, "URI": "https://u:hunter2@host"}}
GOOD = {
    "env": {"TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "100", "USE_API_KEY": "1", "URI": "http://host:80/a@b"},
    "secrets": ["WANDB_API_KEY"],
}
EXPECTED = [
    (
        "env",
        "WANDB_API_KEY holds a secret, by its name, and env is readable by all who see the job",
        'secrets=["WANDB_API_KEY"], with WANDB_API_KEY set in your environment',
    ),
    (
        "env",
        "the value of EXTRA is a Hugging Face token, and env is readable by all who see the job",
        'secrets=["EXTRA"], with EXTRA set in your environment',
    ),
    (
        "env",
        "the value of URI is a URL with a password, and env is readable by all who see the job",
        'secrets=["URI"], with URI set in your environment',
    ),
]
