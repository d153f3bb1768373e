from __future__ import annotations


def brevity(prompts, completions, /):
    return [-len(completion) for completion in completions]


def brief(completions, **kwargs):
    return [-len(completion) for completion in completions]


BAD = {"method": "grpo", "reward_funcs": brevity}
GOOD = {"method": "grpo", "reward_funcs": brief}
EXPECTED = [
    (
        "reward_funcs",
        ("brevity does not take all that TRL passes by keyword, as `def brevity(prompts, completions, **kwargs)` does"),
        "",
    ),
    (
        "reward_funcs",
        "brevity takes prompts by position only, and TRL passes it by name: remove the / from its signature",
        "",
    ),
]
