"""Where these tests run their plans: real scripts in real processes, or a backend on which nothing runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.running.backends import supervise
from hfjobs_trainer.running.backends.base import Backend
from hfjobs_trainer.running.backends.inprocess import InProcessBackend
from hfjobs_trainer.running.backends.local import LocalBackend
from hfjobs_trainer.running.job import Job


def event_line(kind: str, time: float = 1.0, **fields: Any) -> str:
    return json.dumps({"event": f"hft.{kind}", "time": time, **fields})


# The log of a short run that went well.
GOOD_RUN = (
    event_line("start", 10.0, method="sft", model="tiny", device="cpu", gpu=None, world_size=1),
    "a line that is no event",
    event_line("log", 11.0, step=1, max_steps=3, epoch=0.3, metrics={"loss": 3.0, "grad_norm": None}),
    event_line("log", 12.0, step=2, max_steps=3, epoch=0.6, metrics={"loss": 2.0, "eval_loss": 2.5}),
    event_line("saved", 12.5, step=2, path="out/checkpoint-2"),
    event_line("log", 13.0, step=3, max_steps=3, epoch=1.0, metrics={"loss": 1.0}),
    event_line("pushed", 14.0, repo="me/model", url="https://hub.test/me/model"),
    event_line("end", 15.0, step=3, seconds=5.0, metrics={"train_loss": 2.0}, output_dir="/runs/out"),
)


def plan_of(script: str, *, backend: str = "local", name: str = "sft-tiny", **request: Any) -> Plan:
    return Plan(spec=cast("Any", None), backend=backend, request=JobRequest(script=script, name=name, **request))


def script_of(lines: Sequence[str], exit_code: int | None) -> str:
    """A script that prints lines and exits; without an exit code it goes on until it is stopped."""
    ending = "time.sleep(600)" if exit_code is None else f"sys.exit({exit_code})"
    return f"import sys, time\nfor line in {list(lines)!r}:\n    print(line, flush=True)\n{ending}\n"


class Place(Protocol):
    """A backend, and how a test starts a job on it of which it knows how it goes."""

    @property
    def backend(self) -> Backend: ...

    def start(
        self, lines: Sequence[str] = (), exit_code: int | None = 0, *, labels: Mapping[str, str] | None = None
    ) -> Job:
        """Submit a job that logs these lines and ends so; with exit code None it goes on until it is cancelled."""
        ...


@dataclass
class InProcessPlace:
    backend: InProcessBackend = field(default_factory=InProcessBackend)

    def start(
        self, lines: Sequence[str] = (), exit_code: int | None = 0, *, labels: Mapping[str, str] | None = None
    ) -> Job:
        job = Job(self.backend.submit(plan_of("", labels=labels or {})), self.backend)
        if exit_code is None:
            self.backend.write(job.id, *lines)
        else:
            failed = f"Job failed with exit code: {exit_code}" if exit_code else None
            self.backend.finish(job.id, "ERROR" if failed else "COMPLETED", lines, failed)
        return job


@dataclass
class LocalPlace:
    root: Path

    @property
    def backend(self) -> LocalBackend:
        return LocalBackend(self.root, python="current", grace_seconds=1.0)

    def start(
        self, lines: Sequence[str] = (), exit_code: int | None = 0, *, labels: Mapping[str, str] | None = None
    ) -> Job:
        return self.run(script_of(lines, exit_code), labels=labels or {})

    def run(self, script: str, **request: Any) -> Job:
        return Job(self.backend.submit(plan_of(script, **request)), self.backend)

    def kill_supervisors(self, job: Job) -> None:
        """Kill what stays with a run, its supervisor and the heir of that, so that neither notes the other's death."""
        wanted = f"{supervise.__name__}\0{self.folder(job)}\0".encode()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if wanted in (entry / "cmdline").read_bytes():
                        os.kill(int(entry.name), number)

    def folder(self, job: Job) -> Path:
        assert job.record.folder is not None
        return Path(job.record.folder)
