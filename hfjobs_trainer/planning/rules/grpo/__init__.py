"""Rules of the methods whose model learns from its own answers: GRPO, RLOO and Online DPO."""
