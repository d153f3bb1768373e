"""Rules of the methods whose model learns from its own answers: GRPO, RLOO and Online DPO."""

GROUPED = ["grpo", "rloo"]
"""Methods that compare several answers to one prompt, in TRL's same words."""


REWARDED = [*GROUPED, "online_dpo"]
"""Methods that score the model's own answers with ``reward_funcs``."""

CODED = [*REWARDED, "distillation"]
"""Methods that take Python functions: as rewards, or as tools."""
