"""Command lines as a shell reads them: words, and the commands that they make."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from hfjobs_trainer.tokens import names_a_secret

_ENDS = re.compile(r"\d?>>?(?:&\d)?|\||&|\d>&\d|&>")
_SEPARATORS = ("&&", ";", "||")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


_LONGEST = 1_000_000


def split_command_line(text: str) -> list[str]:
    """The words of a command line as a shell would split them: continued lines, comments and variables included.

    Raises:
        ValueError: A quotation is not closed, or a variable is set nowhere in the text.
    """
    joined = re.sub(r"\\[ \t]*\r?\n", " ", text)
    # the prompt of a session, which is no part of the command
    lines = [re.sub(r"^\s*(?:[$>]\s+|!)", "", line) for line in joined.splitlines()]
    words: list[str] = []
    for line in filter(str.strip, _unquoted_lines(lines)):
        words += [*shlex.split(line, comments=True), ";"]
    return [*_with_values(words[:-1])]


def _with_values(words: Iterable[str]) -> Iterator[str]:
    """The words with the values of the variables that the text itself sets; secrets keep their names."""
    known = {"HOME": "~"}
    room = _LONGEST
    for word in words:
        assigned = _ASSIGNMENT.fullmatch(word)
        names = {name for found in _VARIABLE.findall(word) for name in found if name}
        unknown = [name for name in sorted(names - known.keys()) if not names_a_secret(name, name)]
        if unknown and not assigned:
            raise ValueError(f"${unknown[0]} is a variable of your shell: write its value")
        text = _VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), word)
        room -= len(text)
        if room < 0:
            raise ValueError(f"with the values of its variables it has more than {_LONGEST:,} characters")
        if assigned:
            known[assigned[1]] = text.partition("=")[2]
        is_options = text != word and text.startswith("--") and _VARIABLE.fullmatch(word)
        yield from shlex.split(text) if is_options else [text]


def _unquoted_lines(lines: Sequence[str]) -> list[str]:
    """The lines, of which those are one that a quotation runs through."""
    found: list[list[str]] = []
    quote = ""
    for line in lines:
        if quote:
            found[-1].append(line)
        else:
            found.append([line])
        quote = _quote_after(line, quote)
    return ["\n".join(parts) for parts in found]


def _quote_after(line: str, quote: str) -> str:
    """The quotation mark that is open at the end of a line, by shlex's rules.

    Args:
        line: The line.
        quote: The mark that is open where it begins; empty for none.
    """
    escaped = False
    for char in line:
        if escaped:
            escaped = False
        elif quote:
            escaped = char == "\\" and quote == '"'
            quote = "" if char == quote else quote
        elif char == "#":
            break
        else:
            escaped = char == "\\"
            quote = char if char in ("'", '"') else ""
    return quote


def commands_of(words: Sequence[str]) -> list[list[str]]:
    """The commands of a line, without where their output goes."""
    commands: list[list[str]] = [[]]
    ended = False
    for word in words:
        if word in _SEPARATORS:
            commands.append([])
            ended = False
        elif word.endswith(";") and not ended:
            commands[-1].append(word[:-1])
            commands.append([])
        elif ended or _ENDS.fullmatch(word):
            ended = True
        else:
            commands[-1].append(word)
    return [command for command in commands if command]
