from __future__ import annotations

TOKEN = "hf_" + "a" * 34
BAD = {
    "method": "grpo",
    "reward_funcs": {"name": "ask", "source": f"def ask(completions, **kwargs):\n    return [len('{TOKEN}')]\n"},
    "model_init_kwargs": {"token": TOKEN, TOKEN: 1},
    "secrets": ["sk-" + "b" * 30],
    "extra_dependencies": ["x @ git+https://u:hunter2@gitlab.com/a/b.git"],
}
GOOD = {"method": "grpo", "secrets": ["HF_TOKEN"], "model_revision": "0" * 40}
EXPECTED = [
    (
        "model_init_kwargs.token",
        (
            "contains a Hugging Face token, which would be written into the script: revoke it, and pass a new "
            "one in secrets"
        ),
        "",
    ),
    (
        "model_init_kwargs",
        (
            "contains a Hugging Face token, which would be written into the script: revoke it, and pass a new "
            "one in secrets"
        ),
        "",
    ),
    (
        "secrets.0",
        "contains an API key, which would be written into the script: revoke it, and pass a new one in secrets",
        "secrets=[]",
    ),
    (
        "extra_dependencies.0",
        (
            "contains a URL with a password, which would be written into the script: revoke it, and pass a new "
            "one in secrets"
        ),
        "extra_dependencies=[]",
    ),
    (
        "reward_funcs.0.source",
        (
            "contains a Hugging Face token, which would be written into the script: revoke it, and pass a new "
            "one in secrets"
        ),
        "",
    ),
]
