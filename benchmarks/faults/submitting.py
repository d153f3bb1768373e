"""Faults of the Hub while a job is submitted: never two jobs, never one unknown, never a secret, never for ever."""

from __future__ import annotations

import itertools
import json
import logging
import os
import pickle
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hfjobs_trainer as hft
from benchmarks.faults.report import Section, Violation
from benchmarks.faults.stand_in import TOKEN, sample, stand_in, try_all
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import THREAD, Patience
from hfjobs_trainer.running.job import Job

PROCESSES = 12
BOUND = 60.0
"""Longest time that a submission may take with the patience below, seconds: each request of it all its attempts."""
SECRET_NAME, SECRET = "WANDB_API_KEY", "s3cret 'with' \"quotes\", \\ and a slash"
CALM = Patience(attempts=3, pause=0.02, longest_pause=0.1, answer=5, submission=20, search=0.3, reconnects=5)
HURRIED = replace(CALM, answer=2, submission=4)
"""Where an answer never comes."""
LAG = 1.0
"""How late the Hub lists a job, seconds, where it does: later than it is looked for."""
ATTEMPTS = CALM.attempts

REQUESTS = {
    "the token's owner": ("GET", "/api/whoami-v2$"),
    "the bucket": ("POST", "/paths-info$"),
    "the bucket's creation": ("POST", "/api/buckets/alice/jobs-artifacts$"),
    "the token of the upload": ("GET", "/xet-write-token$"),
    "the content": ("POST", "/xorbs/"),
    "the list of contents": ("POST", "/shards$"),
    "the commit": ("POST", "/batch$"),
    "the job": ("POST", "/api/jobs/alice$"),
    "the list of jobs": ("GET", "/api/jobs/alice$"),
    "the job's page": ("GET", "/api/jobs/alice/[^/]+$"),
    "the prices, for the plan": ("GET", "/api/jobs/hardware$"),
    "the token's owner, for the plan": ("GET", "/api/whoami-v2$"),
}
FOR_THE_PLAN = ("the prices, for the plan", "the token's owner, for the plan")
DISPENSABLE = ("the job's page", "the prices, for the plan")
"""Without these a job is submitted nevertheless."""


def _status(status: int, body: str = "", **headers: str) -> dict[str, Any]:
    return {"response": {"status": status, "headers": headers} | ({"body": body} if body else {})}


PASSING: dict[str, dict[str, Any]] = {
    "reset before": {"reset": "before"},
    "reset after": {"reset": "after"},
    "reset in the middle": {"reset": "mid"},
    "408": _status(408),
    "425": _status(425),
    "429": _status(429),
    "429, again in 1 s": _status(429, Retry_After="1"),
    "500": _status(500),
    "502, HTML": _status(502, "<html>bad gateway</html>"),
    "503": _status(503),
    "504": _status(504),
    "no JSON": _status(200, "<html>welcome</html>"),
}
LASTING: dict[str, dict[str, Any]] = {
    "no answer before": {"hang": "before"},
    "no answer after": {"hang": "after"},
    "401": _status(401),
    "402": _status(402),
    "403": _status(403),
    "404": _status(404),
    "an empty answer": _status(200, "{}"),
}
ALWAYS = 1000


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault.

    Attributes:
        request: Which request it concerns.
        fault: What happens to it.
        times: How often.
        lists_late: Whether the Hub lists a job only after it was looked for.
    """

    request: str
    fault: str
    times: int
    lists_late: bool = False

    def __str__(self) -> str:
        often = {1: "once", 2: "twice", ALWAYS: "always"}[self.times]
        return f"{self.request}: {self.fault}, {often}" + (", jobs are listed late" if self.lists_late else "")

    @property
    def must_succeed(self) -> bool:
        """Whether it is over before the last attempt, or concerns nothing that is indispensable."""
        return self.request in DISPENSABLE or (self.fault in PASSING and self.times < ATTEMPTS and not self.lists_late)

    @property
    def patience(self) -> Patience:
        """How long the Hub is waited for."""
        return HURRIED if self.fault.startswith("no answer") else CALM


def cells() -> list[Cell]:
    """All that is tried."""
    passing = [Cell(*each) for each in itertools.product(REQUESTS, PASSING, (1, 2, ALWAYS))]
    lasting = [Cell(*each) for each in itertools.product(REQUESTS, LASTING, (1, ALWAYS))]
    late = [Cell("the job", fault, times, lists_late=True) for fault in PASSING for times in (1, 2, ALWAYS)]
    return [*passing, *lasting, *late]


def run(*, scale: float = 1.0, seed: int = 0) -> Section:
    """Try a share of the faults."""
    chosen = sample(cells(), scale, seed)
    began = time.monotonic()
    found = try_all(judge, chosen, processes=PROCESSES)
    return Section("faults during submit", len(chosen), found, (f"{time.monotonic() - began:.0f} s",))


def judge(cell: Cell) -> list[Violation]:
    """Submit through a fault, and say which promises did not hold."""
    os.environ[SECRET_NAME] = SECRET
    with stand_in() as hub, _Logged() as lines, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        hub.script(count=ALWAYS, runSecs=ALWAYS)
        if cell.request == "the list of jobs":
            hub.fail(method="POST", path=REQUESTS["the job"][1], reset="after")
        if cell.lists_late:
            hub.cfg["listLagSecs"] = LAG
        method, path = REQUESTS[cell.request]
        hub.fail(method=method, path=path, times=cell.times, **(PASSING | LASTING)[cell.fault])
        with tempfile.TemporaryDirectory(prefix="hft-faults-") as folder:
            attempt = Attempt(cell, hub.endpoint, Path(folder))
            attempt.join(BOUND)
            if attempt.is_alive():
                return [Violation("hanging", str(cell), f"no end after {BOUND:g} s")]
            hub.faults.clear()
            for thread in threading.enumerate():  # what was given up may yet arrive
                if thread.name == THREAD:
                    thread.join(1)
            said = "\n".join([*lines, *(str(warning.message) for warning in warned), _all_of(attempt.error)])
            return [Violation(kind, str(cell), seen) for kind, seen in find_wrong(cell, hub, attempt, said)]


class Attempt(threading.Thread):
    """A submission; ``job`` or ``error`` is what became of it."""

    def __init__(self, cell: Cell, endpoint: str, folder: Path) -> None:
        super().__init__(daemon=True)
        self.cell, self.folder = cell, folder
        self.backend = HubBackend(TOKEN, None, endpoint, cell.patience)
        self.job: Job | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.job = self.submit()
        except BaseException as error:
            self.error = error

    def submit(self) -> Job:
        if self.cell.request not in FOR_THE_PLAN:
            return Job(self.backend.submit(self.plan()), self.backend)
        script = self.folder / "train.py"
        script.write_text("# /// script\n# dependencies = []\n# ///\nprint(1)\n", "utf-8")
        tracking = hft.Tracking(report_to="none")
        spec = hft.Script(str(script), hardware="cpu-basic", timeout="20m", tracking=tracking, secrets=[SECRET_NAME])
        return hft.Client(self.backend).submit(spec)

    def plan(self) -> Plan:
        request = JobRequest(
            script="print(1)\n",
            name="run",
            flavor="t4-small",
            timeout_seconds=3600,
            secrets=(SECRET_NAME, "HF_TOKEN"),
            labels={"sdk": "hfjobs-trainer"},
            resource_group_id="66670e5163145ca562cb1988" if self.cell.request == "the job's page" else None,
        )
        return Plan(spec=hft.Script("train.py", hardware="t4-small", timeout="1h"), backend="hub", request=request)


def find_wrong(cell: Cell, hub: Any, attempt: Attempt, said: str) -> Iterator[tuple[str, str]]:
    """The promises that did not hold, and what was seen instead."""
    error = attempt.error
    text = f"{type(error).__name__}: {error}" if error is not None else ""
    if attempt.job is not None and len(hub.jobs) > 1:
        time.sleep(LAG if cell.lists_late else 0)
        attempt.job.status()  # which finds a second job
    alive = [job.id for job in hub.jobs.values() if not (job.canceled.is_set() or job.stage == "CANCELED")]
    if len(alive) > 1 and (error is None or not _found_as_told(hub, text, alive)):
        yield "two jobs", f"{len(alive)} live jobs" + (f"; {text}" if text else "")
    if attempt.job is not None and [attempt.job.id] != [f"alice/{name}" for name in alive]:
        yield "another job", f"got {attempt.job.id}, alive: {alive}"
    if error is not None and not isinstance(error, hft.HFTError):
        yield "raised", text
    if error is not None and cell.must_succeed:
        yield "gave up", text
    if error is not None and alive:
        if re.search(r"[Nn]o (scheduled )?job was created|[Nn]othing was submitted", text):
            yield "denied job", text
        elif not _found_as_told(hub, text, alive):
            yield "lost job", text
    if error is not None and not alive and not _is_settled(hub, text):
        yield "unclear", text
    for secret in (SECRET, TOKEN):
        if any(form in said for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1])):
            yield "secret shown", "the token" if secret == TOKEN else "a secret"


def _found_as_told(hub: Any, text: str, alive: list[str]) -> bool:
    """Whether the call in a message finds the live jobs."""
    if any(f'from_id("alice/{name}")' in text for name in alive):
        return True
    found = re.search(r'hft\.Client\(namespace="(.*)"\)\.jobs\(labels=(\{.*?\})\)', text)
    if found is None:
        return False
    hub.cfg["listLagSecs"] = 0
    client = hft.Client(token=TOKEN, namespace=found[1], endpoint=hub.endpoint)
    return {job.id for job in client.jobs(labels=json.loads(found[2]))} >= {f"alice/{name}" for name in alive}


def _is_settled(hub: Any, text: str) -> bool:
    """Whether it is clear from the message that there is no job, or where to look."""
    sent = [entry for entry in hub.journal if entry["method"] == "POST" and entry["path"] == "/api/jobs/alice"]
    refused = all(400 <= (entry["status"] or 0) < 500 and entry["status"] != 408 for entry in sent)
    return refused or "jobs(labels=" in text or "o job was created" in text or "It was canceled" in text


class _Logged(logging.Handler):
    """All that is logged meanwhile, as with ``HF_DEBUG=1``, kept off the screen."""

    NAMES = ("", "huggingface_hub")

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.before: list[tuple[int, list[logging.Handler]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        import huggingface_hub.hf_api as _  # noqa: F401 - has its loggers exist

        for logger in map(logging.getLogger, self.NAMES):
            self.before.append((logger.level, logger.handlers))
            logger.handlers = [self]
            logger.setLevel(logging.DEBUG)
        return self.lines

    def __exit__(self, *_: object) -> None:
        for name, (level, handlers) in zip(self.NAMES, self.before, strict=True):
            logging.getLogger(name).handlers = handlers
            logging.getLogger(name).setLevel(level)


def _all_of(error: BaseException | None) -> str:
    """All that an exception gives away: words, attributes, what it was raised from, local variables of its frames."""
    if error is None:
        return ""
    told = [str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))]
    step = error.__traceback__
    while step is not None:
        told += map(_repr, step.tb_frame.f_locals.values())
        step = step.tb_next
    linked = (error.__cause__, error.__context__, getattr(error, "cause", None))
    return "\n".join([*told, *map(_all_of, linked)])


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # of an object that was never finished
        return ""
