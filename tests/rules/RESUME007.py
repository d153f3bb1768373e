from __future__ import annotations

BAD = {"enable_jit_checkpoint": True}
GOOD = {}
EXPECTED = [
    (
        "enable_jit_checkpoint",
        "has no effect, since the script saves at SIGTERM by itself",
        "enable_jit_checkpoint=False",
    )
]
