from __future__ import annotations

from pathlib import PurePath as Path


def report(completions, **kwargs):
    return [float(len(completion)) for completion in completions]


def suffixes(completions, **kwargs):
    return [float(len(Path(completion).suffixes)) for completion in completions]


def length(completions, **kwargs):
    return [float(len(completion)) for completion in completions]


BAD = {"method": "grpo", "reward_funcs": [report, suffixes, length, length]}
GOOD = {"method": "grpo", "reward_funcs": [length]}
EXPECTED = [
    ("reward_funcs", "the script defines report itself: rename it, to report_reward for example", ""),
    (
        "reward_funcs",
        (
            "suffixes needs `from pathlib import PurePath as Path`, and the script defines Path itself: import "
            "it inside suffixes"
        ),
        "",
    ),
    ("reward_funcs", "two functions are named length: rename one of them", ""),
]
