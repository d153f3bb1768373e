from __future__ import annotations

BAD = {"attn_implementation": "flash_attention_2"}
GOOD = {"attn_implementation": "sdpa"}
EXPECTED = [
    ("attn_implementation", "flash-attn has no wheel for the pinned torch", '"sdpa", which uses the same algorithm'),
]
