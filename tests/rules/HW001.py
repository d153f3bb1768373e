from __future__ import annotations

BAD = {"hardware": "a10g-lage"}
GOOD = {"hardware": "a10g-large"}
EXPECTED = [
    (
        "hardware.flavor",
        (
            'Hugging Face Jobs has no flavor "a10g-lage" (snapshot 2026-08-22); near to it are a10g-large, '
            "a10g-largex4, a10g-largex2"
        ),
        'hardware="a10g-large"',
    )
]
