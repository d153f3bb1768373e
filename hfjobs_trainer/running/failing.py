"""The part of a log that tells why its run failed: plain lines, without what the run survived."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hfjobs_trainer.running.events import Event, parse_event

HEAD_CHARACTERS, TAIL_CHARACTERS = 200_000, 1_500_000
"""How much of a long log is looked at, from its beginning and its end."""
LINE_CHARACTERS = 2_000
"""How much of a long line is looked at, half of it from each end."""
LAST_LINES, LAST_CHARACTERS = 2_000, 400_000
"""How much of what is left may tell why the run failed."""
CALM_LINES = 60
"""After so many ordinary lines, the run had gone on in spite of an exception that was printed before."""
LATE_LINES = 200
"""How far before the last sign of progress one process may have failed while another printed that sign."""

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]{0,20}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|[@-Z\\-_])")
_BREAK = re.compile(r"\r\n|\n|\r")
# Nodes, ranks, launchers, vLLM's processes and clocks put themselves before each line.
_PREFIX = re.compile(
    r"(?:\[node \d{1,4}\] ?"
    r"|\[rank ?\d{1,4}\]: ?"
    r"|\[(?:default)?\d{1,4}\]: ?"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d{0,9}Z? "
    r"|\((?:\w{1,40}|[\w.]{1,40} pid=\d{1,9})\) "
    r"|(?:ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[\w./]{1,80}:\d{1,6}\] ?)"
)
_BAR = re.compile(r"^[^|]{0,80}\d{1,3}%\|[^|]{0,200}\|[^\[]{0,40}\[[^\]]{0,60}\](?:\x1b\[A)?")
_TRL_LOG = re.compile(r"\{'(?:loss|eval_[a-z_]{1,60}|train_runtime)': ")
_PROGRESS = frozenset({"log", "evaluated", "saved", "kept", "resumed", "pushed", "audited", "reloaded", "end"})
_TOLD: Mapping[str, tuple[str, ...]] = {
    "failed": ("message",),
    "stopped": ("reason", "code", "step", "checkpoint", "message"),
    "ruin": ("step", "message"),
    "rescued": ("place", "why", "command"),
}
"""Events that say why a run ended, and which of their fields do."""
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^ {0,8}(?:\| {1,8})?File "([^"]{1,400})", line (\d{1,7}), in (.{1,100})$')
_FOREIGN = re.compile(r"(?:site|dist)-packages/|/lib/python3|^<|/bin/[\w-]{1,40}$")


@dataclass(frozen=True, slots=True)
class Failing:
    """What may tell why a run failed.

    Attributes:
        lines: Lines in order, as they are matched.
        step: The last step that was reported before; ``None`` if there was none.
        kept: Whether a checkpoint was kept that outlives the machine.
    """

    lines: tuple[str, ...] = ()
    step: int | None = None
    kept: bool = False
    before: tuple[str, ...] = field(default=(), repr=False)
    """Lines before the last sign of progress, in which another process may have failed first."""

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Where to look, the best place first: from the last group of exceptions on, all of it, and before it."""
        last = self.lines[_last_group(self.lines) :]
        found = [last] if len(last) < len(self.lines) else []
        return [*found, self.lines]


def read_failing(text: str) -> Failing:
    """Find what tells why the run of this log failed, in time linear in its length, which is bounded."""
    if len(text) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        text = f"{text[:HEAD_CHARACTERS]}\n{text[-TAIL_CHARACTERS:]}"
    lines: list[str] = []
    before: list[str] = []
    step: int | None = None
    kept = False
    for raw in _BREAK.split(text):
        line = _plain(_shorten(_ANSI.sub("", raw)))
        event = parse_event(line) if '"hft.' in line else None
        if event is not None:
            step = step if event.step is None else event.step
            if event.kind == "start" or event.kind in _PROGRESS:
                # a new attempt has nothing to do with how the one before it ended
                before = [] if event.kind == "start" else lines[-LATE_LINES:]
                lines, kept = [], kept or event.kind == "kept"
            elif event.kind in _TOLD:
                lines.append(_tell(event))
        elif _TRL_LOG.search(line[:400]):
            before, lines = lines[-LATE_LINES:], []
        elif line.strip():
            lines.append(line)
    return Failing(_last(lines), step, kept, tuple(before))


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    left = LAST_CHARACTERS
    for number in range(len(lines) - 1, max(-1, len(lines) - 1 - LAST_LINES), -1):
        left -= len(lines[number])
        if left < 0:
            return tuple(lines[number + 1 :])
    return tuple(lines[-LAST_LINES:])


def _shorten(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[: LINE_CHARACTERS // 2]} ... {line[-LINE_CHARACTERS // 2 :]}"


def _plain(line: str) -> str:
    """The line without what stands before it, and without a progress bar."""
    for _ in range(5):
        found = _PREFIX.match(line)
        if found is None:
            break
        line = line[found.end() :]
    return _BAR.sub("", line)


def _tell(event: Event) -> str:
    """An event that says why the run ended, as a line."""
    if event.kind == "failed":
        return f"hft: {event.data.get('message')}"
    return f"hft.{event.kind} " + " ".join(f"{name}={event.data.get(name)}" for name in _TOLD[event.kind])


def _last_group(lines: Sequence[str]) -> int:
    """Where the last exceptions begin that were printed without much between them, with the lines before them."""
    start: int | None = None
    calm, inside = 0, False
    for number, line in enumerate(lines):
        if line.startswith(_TRACEBACK):
            if start is None or calm > CALM_LINES:
                start = number
            calm, inside = 0, True
        elif inside and not line.startswith((" ", "\t")):
            inside = False  # the exception itself
        elif not inside and not line.startswith((" ", "\t", "frame #", "hft")) and "rror" not in line:
            calm += 1
    return 0 if start is None else max(0, start - CALM_LINES)


def traceback_before(lines: Sequence[str], number: int) -> Sequence[str]:
    """The traceback that ends with this line, without those before it; at most 400 lines."""
    for start in range(number, max(-1, number - 400), -1):
        if lines[start].startswith(_TRACEBACK):
            return lines[start : number + 1]
    return ()


def users_line(traceback: Sequence[str]) -> str | None:
    """The innermost line of the user's script in a traceback, as it is told; ``None`` if there is none."""
    for number in range(len(traceback) - 1, -1, -1):
        found = _FRAME.match(traceback[number])
        if found is None or _FOREIGN.search(found[1]):
            continue
        where = f"line {found[2]} of {found[1].rsplit('/', 1)[-1]}"
        code = traceback[number + 1].strip() if number + 1 < len(traceback) else ""
        return f"{where}: `{code[:160]}`" if code and _FRAME.match(code) is None else where
    return None


class Excerpt:
    """As much of a log as is looked at, while its lines come in: its beginning and its end."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._left, self._size = HEAD_CHARACTERS, 0

    def add(self, line: str) -> None:
        """Take the next line."""
        line = _shorten(line.rstrip("\n"))
        if self._left > 0:
            self._left -= len(line) + 1
            self._head.append(line)
            return
        self._tail.append(line)
        self._size += len(line) + 1
        while self._size > TAIL_CHARACTERS:
            self._size -= len(self._tail.popleft()) + 1

    @property
    def text(self) -> str:
        """The lines that were kept."""
        return "\n".join([*self._head, *self._tail])
