"""Where the templates are."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def template_folder() -> Path:
    """Folder of the templates: inside an installed package, beside it in the repository."""
    installed = _PACKAGE / "_templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "templates"
