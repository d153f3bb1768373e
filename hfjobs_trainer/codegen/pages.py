"""Pages whose code runs: Markdown, the output of its examples, and generated parts.

A page is Markdown that people write. Four things in it are kept up to date or tested:

- Its ``python`` blocks run in order, in one namespace per page, as a reader would type them into a notebook. A comment
  ``<!-- compile only: why -->`` before a block keeps it from running. Each runs in an empty folder of its own.
- A block whose first line is a comment with a file name, such as ``# sft.yaml``, is a file in the folders of the blocks
  below it.
- A ``text`` block right after a block that runs is what it prints.
- What stands between ``<!-- generated: name -->`` and ``<!-- end of name -->`` comes from a function.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfjobs_trainer.errors import HFTError

_BLOCK = re.compile(
    r"^(?:<!-- compile only: (?P<reason>.+?) -->\n+)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# (?P<name>[\w-]+\.\w+)\n")
# Between the code that runs and the block that shows what it prints.
_GAP = re.compile(r"```\n+```text\n")
_REGION = re.compile(r"^<!-- generated: (?P<name>\w+) -->\n.*?^<!-- end of (?P=name) -->$", re.MULTILINE | re.DOTALL)

Part = Callable[[Mapping[str, Any]], str]
"""Returns the Markdown of a generated part, given what the page's blocks have defined."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: Path of the page, for messages.
        line: Line of its first line of code, from 1.
        language: The info string of the fence, such as ``"python"``.
        code: Its text.
        reason: Why it is compiled only; ``None`` if it runs.
        start, end: Where its code begins and ends in the page.
        files: Name and text of each file that the page shows above it.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None
    start: int
    end: int
    files: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The file name in tracebacks."""
        return f"<{self.page}, line {self.line}>"

    def compile(self) -> Any:
        """Return the block's code object.

        Raises:
            SyntaxError: It is not Python.
        """
        return compile(self.code, self.name, "exec", dont_inherit=True)


def blocks(page: str, text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found: list[Block] = []
    files: dict[str, str] = {}
    for match in _BLOCK.finditer(text):
        block = Block(
            page=page,
            line=text.count("\n", 0, match.start("code")) + 1,
            language=match["language"],
            code=match["code"],
            reason=match["reason"],
            start=match.start("code"),
            end=match.end("code"),
            files=tuple(files.items()),
        )
        if file := _FILE.match(block.code):
            files[file["name"]] = block.code
        found.append(block)
    return found


def run(block: Block, namespace: dict[str, Any]) -> str:
    """Run a block in a namespace and an empty folder, and return what it printed."""
    # so that the source of a function that a block defines can be found, as in a notebook
    linecache.cache[block.name] = (len(block.code), None, block.code.splitlines(keepends=True), block.name)
    output = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(output):
        for name, text in block.files:
            Path(name).write_text(text, encoding="utf-8")
        exec(block.compile(), namespace)  # noqa: S102 - our own pages
    return output.getvalue()


def complete(page: str, text: str, parts: Mapping[str, Part]) -> str:
    """Return the page with the output of its examples and its generated parts brought up to date.

    Raises:
        HFTError: The page has a generated part that is unknown.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    regions = list(_REGION.finditer(text))
    made: list[tuple[int, int, str]] = []
    printed, printed_end = "", None
    for block in blocks(page, text):
        while regions and regions[0].start() < block.start:
            made.append(_region(page, regions.pop(0), parts, namespace))
        if block.language == "python" and block.reason is None:
            printed, printed_end = run(block, namespace), block.end
        elif printed_end is not None and _GAP.fullmatch(text, printed_end, block.start):
            made.append((block.start, block.end, f"{printed.rstrip()}\n"))
    made += [_region(page, match, parts, namespace) for match in regions]
    for start, end, replacement in reversed(made):
        text = text[:start] + replacement + text[end:]
    return text


def _region(
    page: str, match: re.Match[str], parts: Mapping[str, Part], namespace: Mapping[str, Any]
) -> tuple[int, int, str]:
    name = match["name"]
    if name not in parts:
        raise HFTError(f"{page} has the unknown generated part {name!r}; known are {', '.join(sorted(parts))}")
    body = parts[name](namespace).strip()
    return match.start(), match.end(), f"<!-- generated: {name} -->\n\n{body}\n\n<!-- end of {name} -->"
