from __future__ import annotations

BAD = {"output": {"merge_adapter": True}}
GOOD = {"output": {"merge_adapter": True}, "lora": {}}
EXPECTED = [("output.merge_adapter", "there is no adapter to merge", "output=hft.Output()")]
