from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "lora": {}, "quantization": "8bit"}
GOOD = BAD | {"quantization": "4bit"}
EXPECTED = [("quantization", "vLLM in colocate mode quantizes to 4 bits, not to 8", 'quantization="4bit"')]
