from __future__ import annotations

SOURCE = 'def look(what: str) -> str:\n    """Look.\n\n    Args:\n        what: What.\n    """\n    return what\n'

BAD = {"method": "distillation", "tools": [{"name": "look", "source": f"async {SOURCE}"}]}
GOOD = {"method": "distillation", "tools": [{"name": "look", "source": SOURCE}]}
EXPECTED = [("tools", "look is async, which DistillationTrainer does not take: define it without async", "")]
