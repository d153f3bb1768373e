from __future__ import annotations

BAD = {"padding_free": True}
GOOD = {"padding_free": True, "max_length": None}
EXPECTED = [("padding_free", "without packing, max_length=1024 would not be enforced", "packing=True")]
