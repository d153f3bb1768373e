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
    for word in words:
        assigned = _ASSIGNMENT.fullmatch(word)
        names = {name for found in _VARIABLE.findall(word) for name in found if name}
        unknown = [name for name in sorted(names - known.keys()) if not names_a_secret(name, name)]
        if unknown and not assigned:
            raise ValueError(f"${unknown[0]} is a variable of your shell: write its value")
        text = _VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), word)
        if assigned:
            known[assigned[1]] = text.partition("=")[2]
        is_options = text != word and text.startswith("--") and _VARIABLE.fullmatch(word)
        yield from shlex.split(text) if is_options else [text]


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
