"""Where a watched run is shown: a panel in a terminal, a panel in a notebook, or plain lines."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import astuple
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from hfjobs_trainer.running.watching.figures import ASCII, UNICODE, Marks, fitting, short_id
from hfjobs_trainer.running.watching.plain import PlainLog
from hfjobs_trainer.running.watching.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live


class Screen(Protocol):
    """Shows one job, from its first status to its end."""

    def see(self, progress: Progress, now: float) -> None:
        """Something became known; ``now`` is in seconds since the epoch."""
        ...

    def draw(self, progress: Progress, now: float) -> None:
        """Some time has passed; this is called about twice a second."""
        ...

    def close(self, progress: Progress, now: float, parting: str) -> None:
        """Leave the last state on the screen, and a line below it."""
        ...


def open_screen() -> Screen:
    """The best screen that there is."""
    if _is_notebook():
        return NotebookScreen()
    if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown"):
        return TerminalScreen()
    return PlainLog()


def _is_notebook() -> bool:
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and shell.has_trait("kernel")


def marks_for(encoding: str | None) -> Marks:
    """The characters that an encoding has."""
    try:
        "".join(astuple(UNICODE)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


class TerminalScreen:
    """A panel that is drawn again and again at the same place."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console: Console = Console(file=sys.stdout, highlight=False)
        self._marks = marks_for(self._console.encoding)
        self._live: Live | None = None

    def see(self, progress: Progress, now: float) -> None:
        """Nothing: it is drawn soon."""

    def draw(self, progress: Progress, now: float) -> None:
        """Draw the panel again."""
        from rich.live import Live

        from hfjobs_trainer.running.watching.terminal import panel

        width, height = self._console.size
        drawn = panel(progress, now, width, self._marks, height)
        if self._live is None:
            self._live = Live(drawn, console=self._console, auto_refresh=False)
            self._live.start(refresh=True)
        else:
            self._live.update(drawn, refresh=True)

    def close(self, progress: Progress, now: float, parting: str) -> None:
        """Draw it for the last time; the cursor is back, whatever interrupts this."""
        try:
            self.draw(progress, now)
        finally:
            if self._live is not None:
                self._live.stop()
        if parting:
            for line in parting.split("\n"):
                self._console.print(fitting(line, self._marks), markup=False, soft_wrap=True)


class NotebookScreen:
    """A panel in one output of a cell, which stays in the saved notebook."""

    def __init__(self) -> None:
        self._handle: Any = None

    def see(self, progress: Progress, now: float) -> None:
        """Nothing: it is drawn soon."""

    def draw(self, progress: Progress, now: float) -> None:
        """Draw the panel again."""
        self._show(progress, now, "")

    def close(self, progress: Progress, now: float, parting: str) -> None:
        """Draw it for the last time."""
        self._show(progress, now, parting)

    def _show(self, progress: Progress, now: float, parting: str) -> None:
        from IPython import display

        from hfjobs_trainer.running.watching.markup import markup

        stage = "" if progress.status is None else progress.status.stage
        step = f", step {progress.step}/{progress.max_steps}" if progress.max_steps else ""
        data = {
            "text/html": markup(progress, now, parting),
            "text/plain": parting or f"job {short_id(progress.record.id)}: {stage}{step}",
        }
        if self._handle is None:
            self._handle = display.DisplayHandle()
            self._handle.display(data, raw=True)
        else:
            self._handle.update(data, raw=True)


@contextmanager
def interrupted_once() -> Generator[None]:
    """Have a second Ctrl-C do nothing: it would leave the terminal without its cursor."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    usual = signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not usual:  # it is not for us to say
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
