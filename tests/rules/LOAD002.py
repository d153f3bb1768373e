from __future__ import annotations

BAD = ("spec.yaml", "method: sft\nmodel: [me\n")
GOOD = ("spec.json", '{"method": "sft", "model": "me/model", "dataset": "me/data"}')
EXPECTED = [
    ("", "spec.yaml: line 3, column 1: expected ',' or ']', but got '<stream end>'", ""),
]
