from __future__ import annotations

BAD = {"quantization": "4bit"}
GOOD = {"quantization": "4bit", "lora": {}}
EXPECTED = [("quantization", "quantized weights cannot be trained", "lora=hft.LoRA()")]
