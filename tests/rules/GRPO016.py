from __future__ import annotations

SOURCE = "def brevity(completions, **kwargs):\n    return [0.0 for _ in completions]\n"
BAD = {"method": "online_dpo", "reward_funcs": [{"name": "brevity", "source": f"async {SOURCE}"}]}
GOOD = {"method": "online_dpo", "reward_funcs": [{"name": "brevity", "source": SOURCE}]}
EXPECTED = [("reward_funcs", "brevity is async, which OnlineDPOTrainer does not await: define it without async", "")]
