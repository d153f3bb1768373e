from __future__ import annotations

SILENT = 'def add(a: int, b):\n    """Add two numbers.\n\n    Args:\n        a: The first.\n    """\n    return a + b\n'
FOREIGN = (
    'def find(what: Query) -> str:\n    """Find.\n\n    Args:\n        what: What.\n    """\n    return str(what)\n'
)
WHOLE = SILENT.replace("a: int, b)", "a: int, b: int)").replace("The first.\n", "The first.\n        b: The second.\n")

BAD = {
    "method": "grpo",
    "tools": [
        {"name": "bare", "source": "def bare(a: int):\n    return a\n"},
        {"name": "add", "source": SILENT},
        {"name": "find", "source": FOREIGN},
        {"name": "save", "source": FOREIGN.replace("find", "save").replace("Query", "bytes")},
    ],
}
GOOD = {"method": "grpo", "tools": [{"name": "add", "source": WHOLE}]}
EXPECTED = [
    ("tools", "bare has no docstring: it says what the tool does, and under Args: what it takes", ""),
    ("tools", "add has no type annotation for b, such as `b: str`", ""),
    ("tools", "the docstring of add does not describe b, with a line `b: ...` under a line `Args:`", ""),
    ("tools", "an annotation of find names Query, which the script does not define: annotate with built-in types", ""),
    (
        "tools",
        ("save takes bytes, which a model cannot write in JSON: it can write bool, dict, float, int, list, str, tuple"),
        "",
    ),
]
