"""Rewards of open-r1 that TRL does not bring, as functions that score the same; src/open_r1/rewards.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXTS = 'texts = [item if isinstance(item, str) else item[0]["content"] for item in completions]'

_FORMAT = f"""\
def format_reward(completions, **kwargs):
    {_TEXTS}
    blocks = re.compile(r"<think>\\n.*?\\n</think>\\n<answer>\\n.*?\\n</answer>$", re.DOTALL | re.MULTILINE)
    return [float(blocks.match(text) is not None) for text in texts]
"""

_TAG_COUNT = f"""\
def tag_count_reward(completions, **kwargs):
    {_TEXTS}
    tags = ("<think>\\n", "\\n</think>\\n", "\\n<answer>\\n", "\\n</answer>")
    return [sum(text.count(tag) == 1 for tag in tags) / len(tags) for text in texts]
"""

_REASONING_STEPS = f"""\
def reasoning_steps_reward(completions, **kwargs):
    {_TEXTS}
    step = re.compile(r"Step \\d+:|^\\d+\\.|\\n-|\\n\\*|First,|Second,|Next,|Finally,")
    return [min(1.0, len(step.findall(text)) / 3) for text in texts]
"""

FUNCTIONS: Mapping[str, Mapping[str, Any]] = {
    "format": {"name": "format_reward", "source": _FORMAT, "imports": ["import re"]},
    "tag_count": {"name": "tag_count_reward", "source": _TAG_COUNT},
    "reasoning_steps": {"name": "reasoning_steps_reward", "source": _REASONING_STEPS, "imports": ["import re"]},
}
"""The functions under the names in open-r1's table."""
