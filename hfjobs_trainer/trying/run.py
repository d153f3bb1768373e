"""A script in one of its modes, tried on this machine: in a process of its own, which leaves nothing behind.

A mode is a file of ``modes/``. The script's hook runs it before anything else, since ``HFT_MODE_FILE`` names it, so
that the script's text is the same in every mode. Beside it lie the other files of ``modes/`` and its settings, a file
of JSON with its name; ``HFT_MODE_SCRATCH`` is a folder for what it writes, ``result.json`` in it what it found.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.contents import file_name
from hfjobs_trainer.display import visible
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.trying.environment import environment
from hfjobs_trainer.trying.interpreter import find_python
from hfjobs_trainer.trying.process import Limits, run

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan

__all__ = ["Limits", "TrialError", "Tried", "mode_files", "needs_token", "try_plan"]

# A result that is longer is none: bytes.
LONGEST_RESULT = 256 << 20
# Of a log that an error shows, lines.
SHOWN_LINES = 15
# The line of a traceback that names its error.
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b")


class TrialError(HFTError):
    """A script that was tried ended with an error, or met a limit."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a script that was tried.

    Attributes:
        result: What the mode found; ``None`` if it came to none.
        events: The script's events, oldest first, each with ``event`` such as ``"hft.start"``; a token is masked.
        log: What the script wrote, the middle left out if that is long; a token is masked.
        exit_code: Its exit status; negative for a signal.
        stopped: Which limit it met, such as ``"it ran longer than 300 s"``; empty for none.
        seconds: How long it ran, the making of an environment not counted.
        peak_memory: The most memory that was seen, bytes.
        python: The interpreter.
    """

    result: dict[str, Any] | None
    events: tuple[dict[str, Any], ...]
    log: str = field(repr=False)
    exit_code: int
    stopped: str
    seconds: float
    peak_memory: int
    python: str

    def explain(self, what: str) -> str:
        """What went wrong with ``what``, with the end of the log; such as of a preview."""
        lines = [visible(line) for line in re.split(r"[\r\n]+", self.log) if line.strip()]
        plain = [line for line in lines if not line.startswith(("{", " ", "["))]
        # the message of an error may have several lines
        first = next((at for at in reversed(range(len(plain))) if _ERROR.match(plain[at])), len(plain) - 1)
        last = " ".join(plain[max(0, first) :])
        died = f"it was killed by signal {-self.exit_code}" if self.exit_code < 0 else last or "it wrote nothing"
        tail = "".join(f"\n  | {line[:300]}" for line in lines[-SHOWN_LINES:])
        return f"{what} failed: {self.stopped or died[:500]}{tail}"


def mode_files() -> dict[str, bytes]:
    """The files of all modes by their names: they are laid beside a script together."""
    folder = Path(str(files("hfjobs_trainer.trying"))) / "modes"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[a-z]*.py"))}


def try_plan(
    plan: Plan,
    mode: str,
    settings: Mapping[str, Any],
    *,
    facts: Facts | None = None,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    processes: int = 1,
    without: Collection[str] = (),
    passes_secrets: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool = False,
) -> Tried:
    """Run a plan's script in a mode, on this machine's processor.

    Args:
        plan: The plan; its script runs as it is, whatever backend it is for.
        mode: Name of a file of ``modes/``, without ``.py``.
        settings: What the mode is told, as JSON.
        facts: Facts about the models and datasets: the token is passed on only if one is private or gated.
        limits: What all its processes may take.
        processes: How many train; more than one are started as on a machine with as many GPUs.
        without: Packages of the script's header that the mode does not need.
        passes_secrets: Whether the variables that the spec names as secrets are passed on, for the user's own code.
        token: Hub token; default: the one of this machine.
        endpoint: URL of the Hub; default: ``HF_ENDPOINT``, then the public Hub.
        offline: Do not contact the Hub.

    Raises:
        HFTError: There is no interpreter for it, or this is Windows.
    """
    if sys.platform == "win32":
        raise HFTError("a script is tried on Linux or macOS only; on Windows, use WSL")
    wanted = {*without} - {re.split(r"[^\w.-]", item, maxsplit=1)[0] for item in plan.spec.extra_dependencies}
    python = find_python(plan.script, wanted)
    secret = _token(token) if facts is not None and needs_token(facts) else None
    root = Path(tempfile.mkdtemp(prefix="hft-try-"))
    try:
        scratch = root / "scratch"
        for folder in (scratch / "tmp", scratch / "data", root / "modes", root / "run"):
            folder.mkdir(parents=True)
        (root / "script.py").write_text(plan.script, "utf-8")
        for name, content in mode_files().items():
            (root / "modes" / name).write_bytes(content)
        (root / "modes" / f"{mode}.json").write_text(json.dumps(dict(settings)), "utf-8")
        _lay_data(plan, scratch / "data")
        secrets = plan.request.secrets if passes_secrets else ()
        env = environment(
            scratch,
            declared=plan.request.env,
            secrets=secrets,
            token=secret,
            endpoint=endpoint,
            offline=offline,
        )
        env |= {"HFT_MODE_FILE": str(root / "modes" / f"{mode}.py"), "HFT_MODE_SCRATCH": str(scratch)}
        env["HFT_NUM_PROCESSES"] = str(processes)
        if python != sys.executable:  # packages of another interpreter are not its own
            for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
                env.pop(name, None)
        done = run([python, str(root / "script.py")], folder=root / "run", env=env, mark=str(scratch), limits=limits)
        hidden = [value for name in (*secrets, "HF_TOKEN") if (value := env.get(name)) and len(value) > 3]
        return Tried(
            _result(scratch / "result.json"),
            tuple(event for line in done.lines if (event := _json(_masked(line, hidden))) is not None),
            _masked(done.log, hidden),
            done.exit_code,
            done.stopped,
            done.seconds,
            done.peak,
            python,
        )
    except OSError as error:
        raise HFTError(f"the script could not be tried: {error}") from error
    finally:
        shutil.rmtree(root, ignore_errors=True)


def needs_token(facts: Facts) -> bool:
    """Whether a model or dataset is known to be private or gated."""
    models = (facts.model, facts.teacher, facts.reward_model, facts.value_model, facts.adapter, *facts.reward_models)
    data = [item for item in (facts.dataset, facts.eval_dataset) if item is not None]
    mixed = [part for item in data for part in item.mixed_with]
    return any(item is not None and bool(item.private or item.gated) for item in (*models, *data, *mixed))


def _token(token: str | None) -> str | None:
    if token is not None:
        return token
    from huggingface_hub import get_token

    return get_token()


def _lay_data(plan: Plan, folder: Path) -> None:
    """Local data that travel with a job lie where the script looks for them, as links."""
    for item in plan.request.data:
        place = folder / item.content.digest / file_name(item.content.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(item.place, target_is_directory=item.content.is_folder)


def _result(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > LONGEST_RESULT:
            return None
        return _json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _masked(text: str, hidden: list[str]) -> str:
    for value in hidden:
        for written in (value, json.dumps(value)[1:-1]):
            text = text.replace(written, "***")
    return text
