from __future__ import annotations

BAD = {"image": "my image\n"}
GOOD = {"image": "ghcr.io/astral-sh/uv:python3.12-bookworm"}
EXPECTED = [("image", "'my image\\n' is not an image reference such as ghcr.io/astral-sh/uv:python3.12-bookworm", "")]
