from __future__ import annotations

BAD = {"lora": {"adapter": "me/adapter", "merge_first": True}}
GOOD = {"lora": {"adapter": "me/adapter", "merge_first": True}, "output": {"merge_adapter": True}}
EXPECTED = [
    (
        "output.merge_adapter",
        "the new adapter would not fit the published model, which lacks the first adapter",
        "output=hft.Output(merge_adapter=True)",
    )
]
