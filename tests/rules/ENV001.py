from __future__ import annotations

BAD = {
    "extra_dependencies": [
        "einops",
        "einops 0.8",
        "# /// script",
        "transformers<5",
        "TRL @ https://example.org/trl.whl",
    ]
}
GOOD = {
    "extra_dependencies": [
        "einops>=0.8",
        "kernels[cpu]~=0.9; python_version<'4'",
        "trl",
        "torch>=2.10",
        "x @ git+https://example.org/x",
    ]
}
EXPECTED = [
    (
        "extra_dependencies.1",
        "is not a requirement that pip accepts: Expected semicolon (after name with no version specifier) or end",
        'extra_dependencies=["einops", "einops==0.8", "# /// script"]',
    ),
    (
        "extra_dependencies.2",
        "is not a requirement that pip accepts: Expected package name at the start of dependency specifier",
        "",
    ),
    (
        "extra_dependencies.3",
        "transformers is pinned to 5.23.0, with which the script was tested",
        'extra_dependencies=["einops", "einops==0.8", "# /// script"]',
    ),
    (
        "extra_dependencies.4",
        "TRL is pinned to 1.16.0, with which the script was tested",
        'extra_dependencies=["einops", "einops==0.8", "# /// script"]',
    ),
]
