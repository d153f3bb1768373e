from __future__ import annotations

BAD = {"dataset": ["a/b", {"id": "c/d", "mixed_with": [{"id": "e/f"}]}]}
GOOD = {"dataset": ["a/b", "c/d", "e/f"]}
EXPECTED = [("dataset.mixed_with.0", "c/d is itself a mixture", 'dataset=["a/b", "c/d", "e/f"]')]
