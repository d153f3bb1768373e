from __future__ import annotations


class Shop:
    def __init__(self):
        self.paid = 0
        self.seen = []

    def reset(self, **kwargs): ...

    def pay(self, amount: int) -> str:
        """Pay.

        Args:
            amount: How much.
        """
        self.paid += amount
        self.seen.append(amount)
        return "paid"

    def get_reward(self):
        return -float(self.paid)


class Tidy(Shop):
    def reset(self, **kwargs):
        self._clear()

    def _clear(self):
        self.paid = 0


BAD = {"method": "grpo", "environment_factory": Shop}
GOOD = {"method": "grpo", "environment_factory": Tidy}
EXPECTED = [
    (
        "environment_factory",
        "Shop.pay adds to paid, which reset does not set again, and TRL uses instances for many answers: set "
        "`self.paid = 0` in reset",
        "",
    )
]
