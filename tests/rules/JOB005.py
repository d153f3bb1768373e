from __future__ import annotations

BAD = {"resume_from_checkpoint": "out/checkpoint-500"}
GOOD = {"timeout": "3h"}
EXPECTED = [
    (
        "resume_from_checkpoint",
        "a job starts on an empty machine; to go on with another job, use its resume()",
        "resume_from_checkpoint=None",
    )
]
