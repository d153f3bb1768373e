"""Helpers of the user's own file, beside that of their rewards."""

import json as js
import re
from collections import Counter

WORDS = ("a", "b")


def extract(text):
    """Between tags."""
    found = PATTERN.search(text)
    return found.group(1) if found else ""


PATTERN = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def count(text):
    return Counter(js.loads(js.dumps(text))).most_common(1)
