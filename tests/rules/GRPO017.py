from __future__ import annotations


def total(completions, **kwargs):
    return sum(len(completion) for completion in completions) / len(completions)


def silent(completions, **kwargs):
    for completion in completions:
        print(len(completion))


def words(completions, **kwargs):
    return ["good" for _ in completions]


def some(completions, **kwargs):
    if not completions:
        return 0.0
    return [float(len(completion)) for completion in completions]


def only_logs(completions, **kwargs):
    return [None for _ in completions]


def generated(completions, **kwargs):
    for completion in completions:
        yield float(len(completion))


RIGHT = "return a list with a number for each completion"
BAD = {"method": "grpo", "reward_funcs": [total, silent, words]}
GOOD = {"method": "grpo", "reward_funcs": [some, only_logs, generated]}
EXPECTED = [
    ("reward_funcs", f"total returns one number for all completions: {RIGHT}", ""),
    ("reward_funcs", f"silent returns nothing: {RIGHT}", ""),
    ("reward_funcs", f"words returns texts: {RIGHT}", ""),
]
