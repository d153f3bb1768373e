from __future__ import annotations

BAD = ({}, "61 3 * * 1")
GOOD = ({}, "0 3 * * 1")
EXPECTED = [("schedule", "the minute is 61, which must be from 0 to 59", 'schedule="0 3 * * 1"')]
