from __future__ import annotations

DIGEST = "0" * 64
BAD = ("spec.json", f'{{"method": "sft", "model": "me/model", "dataset": "rows.jsonl@sha256:{DIGEST}"}}')
GOOD = ("spec.json", '{"method": "sft", "model": "me/model", "dataset": "rows.jsonl"}')
EXPECTED = [
    ("dataset.id", f"rows.jsonl with the SHA-256 {DIGEST} is not on this machine: copy it to rows.jsonl", ""),
]
