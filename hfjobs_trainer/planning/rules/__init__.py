"""The rules, in one file or folder per area of codes: what ``DATA001`` says is in ``data``.

A rule of one method alone is in the file of its method.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache


@cache
def load_rules() -> None:
    """Import every module of rules, so that its rules register."""
    for info in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(info.name)
