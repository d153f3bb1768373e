from __future__ import annotations

BAD = {
    "eval_fraction": 0.5,
    "load_best_model_at_end": True,
    "eval_strategy": "steps",
    "eval_steps": 40,
    "save_steps": 100,
}
GOOD = {
    "eval_fraction": 0.5,
    "load_best_model_at_end": True,
    "eval_strategy": "steps",
    "eval_steps": 50,
    "save_steps": 100,
}
EXPECTED = [("save_steps", "must be a multiple of eval_steps (40) with load_best_model_at_end", "save_steps=80")]
