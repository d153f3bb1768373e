from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "resource_group_id": "research"}}
GOOD = {"hardware": {"flavor": "l4x1", "resource_group_id": "66670e5163145ca562cb1988"}}
EXPECTED = [
    (
        "hardware.resource_group_id",
        '"research" is not an id, which has 24 hexadecimal digits',
        'hardware=hft.Hardware(flavor="l4x1")',
    )
]
