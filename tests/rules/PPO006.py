from __future__ import annotations

BAD = {"method": "ppo", "model_init_kwargs": {"low-cpu-mem-usage": True, "": 1}}
GOOD = {"method": "ppo", "model_init_kwargs": {"low_cpu_mem_usage": True}}
EXPECTED = [
    ("model_init_kwargs", "'low-cpu-mem-usage' is not an argument name", ""),
    ("model_init_kwargs", "'' is not an argument name", ""),
]
