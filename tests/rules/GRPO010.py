from __future__ import annotations

BAD = {"method": "grpo", "reward_funcs": ["acuracy_reward", "helpful"]}
GOOD = {"method": "grpo", "reward_funcs": ["accuracy_reward", "me/helpful"]}
EXPECTED = [
    (
        "reward_funcs",
        (
            'TRL has no reward "acuracy_reward"; it has accuracy_reward, reasoning_accuracy_reward, '
            "think_format_reward, get_soft_overlong_punishment"
        ),
        'reward_funcs=["accuracy_reward", "helpful"]',
    ),
    (
        "reward_funcs",
        (
            'TRL has no reward "helpful"; it has accuracy_reward, reasoning_accuracy_reward, '
            "think_format_reward, get_soft_overlong_punishment"
        ),
        "",
    ),
]
