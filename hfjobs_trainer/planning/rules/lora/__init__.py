"""Rules about LoRA adapters."""
