from __future__ import annotations


def similar(completions, **kwargs):
    import math

    import rapidfuzz

    return [rapidfuzz.fuzz.ratio(completion, math.__name__) for completion in completions]


BAD = {"method": "grpo", "reward_funcs": similar}
GOOD = {"method": "grpo", "reward_funcs": similar, "extra_dependencies": ["RapidFuzz>=3"]}
EXPECTED = [
    (
        "reward_funcs",
        "similar imports rapidfuzz, which the script would not install (give the packages' names)",
        'extra_dependencies=["rapidfuzz"]',
    )
]
