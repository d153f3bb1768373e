"""Command lines as a shell reads them: words, and the commands that they make."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_ENDS = re.compile(r"\d?>>?(?:&\d)?|\||&|\d>&\d|&>")
_SEPARATORS = ("&&", ";", "||")


def split_command_line(text: str) -> list[str]:
    """The words of a command line as a shell would split them: continued lines and comments included.

    Raises:
        ValueError: A quotation is not closed.
    """
    joined = re.sub(r"\\[ \t]*\r?\n", " ", text)
    # the prompt of a session, which is no part of the command
    lines = [re.sub(r"^\s*[$>]\s+", "", line) for line in joined.splitlines()]
    words: list[str] = []
    for line in filter(str.strip, _unquoted_lines(lines)):
        words += [*shlex.split(line, comments=True), ";"]
    return words[:-1]


def _unquoted_lines(lines: Sequence[str]) -> list[str]:
    """The lines, of which those are one that a quotation runs through."""
    found: list[str] = []
    for line in lines:
        if found and not _is_closed(found[-1]):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def _is_closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


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
