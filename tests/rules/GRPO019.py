from __future__ import annotations

SHOP = "class Shop:\n    def reset(self, **kwargs): ...\n"
SCORING = f"{SHOP}\n    def get_reward(self):\n        return 1.0\n"
UNKNOWN = SHOP.replace("Shop:", "Shop(shops.Shop):")

BAD = {"method": "grpo", "reward_funcs": [], "environment_factory": {"name": "Shop", "source": SHOP}}
GOOD = {"method": "grpo", "reward_funcs": [], "environment_factory": {"name": "Shop", "source": SCORING}}
EXPECTED = [
    (
        "reward_funcs",
        "nothing scores the answers: add a reward, or to Shop a method `def get_reward(self) -> float: ...`",
        'reward_funcs="accuracy_reward"',
    )
]
