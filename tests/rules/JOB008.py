from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "expose": [0, 8000, 65536]}}
GOOD = {"hardware": {"flavor": "l4x1", "expose": [1, 8000, 65535]}}
EXPECTED = [
    (
        "hardware.expose",
        "0, 65536: ports are numbers from 1 to 65535",
        'hardware=hft.Hardware(flavor="l4x1", expose=[8000])',
    )
]
