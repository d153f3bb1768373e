from __future__ import annotations

SOURCE = 'def look(what: str) -> str:\n    """Look.\n\n    Args:\n        what: What.\n    """\n    return what\n'


class Maze:
    def reset(self, **kwargs): ...

    def look(self) -> str:
        """Look around."""
        return "walls"


class Hall:
    def reset(self, **kwargs): ...


BAD = {"method": "grpo", "environment_factory": Maze, "tools": [{"name": "look", "source": SOURCE}]}
GOOD = {"method": "grpo", "environment_factory": Hall, "tools": [{"name": "look", "source": SOURCE}]}
EXPECTED = [("tools", "Maze has a method look too, which would be called in its place: rename one of them", "")]
