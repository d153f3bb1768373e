"""A job's life: SCHEDULING, RUNNING, then COMPLETED, ERROR or CANCELED; really executed, or played from a plan."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubsim import container
from hubsim.late_mount import LateMount
from hubsim.times import iso

if TYPE_CHECKING:
    from hubsim.state import Hub

TERMINAL = ("COMPLETED", "CANCELED", "ERROR", "DELETED")


class Job:
    def __init__(
        self,
        hub: Hub,
        job_id: str,
        namespace: str,
        user: str,
        spec: dict[str, Any],
        initiator: dict[str, Any],
        plan: dict[str, Any] | None = None,
    ) -> None:
        self.hub = hub
        self.id = job_id
        self.namespace = namespace
        self.user = user
        self.spec = spec
        self.plan = plan or {}
        self.initiator = initiator
        self.labels = dict(spec.get("labels") or {})
        self.expose = spec.get("expose")
        self.created = time.time()
        self.started: float | None = None
        self.finished: float | None = None
        self.stage = "SCHEDULING"
        self.message: str | None = None
        self.cancel_reason: str | None = None
        self.failures = 0
        self.events: list[dict[str, str]] = []
        self.transitions = [(self.created, "SCHEDULING")]
        self.changed = threading.Condition()
        self.logs_done = False
        self.canceled = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.execution: dict[str, Any] = {}
        self.attempt = 1
        self.mounts: list[LateMount] = []
        self.dir = hub.state_dir / "jobs" / job_id
        self.thread = threading.Thread(target=self._live, daemon=True, name=job_id)

    @property
    def network_key(self) -> str:
        return f"{self.namespace}/{self.spec.get('resourceGroupId', '')}/{self.spec['network']['group']}"

    @property
    def lines(self) -> list[str]:
        """The log so far."""
        return [event["data"] for event in self.events]

    def readable(self) -> int:
        """How many events of the log can be read by now: they arrive ``logLagSecs`` after they were written."""
        count, lag = len(self.events), self.hub.cfg["logLagSecs"]
        arrived = iso(time.time() - lag)
        while lag and count and self.events[count - 1]["timestamp"] > arrived:
            count -= 1
        return count

    def view(self) -> dict[str, Any]:
        """The job as the API shows it."""
        spec, accounts = self.spec, self.hub.accounts
        end = self.finished or time.time()
        durations = {"totalSecs": int(end - self.created)}
        if self.started:
            durations["schedulingSecs"] = int(self.started - self.created)
            durations["runningSecs"] = int(end - self.started)
        status: dict[str, Any] = {"stage": self.stage, "message": self.message, "failureCount": self.failures}
        if self.cancel_reason:
            status["cancelReason"] = self.cancel_reason
        if self.expose:
            status["exposeUrls"] = [f"https://{self.id}--{port}.hf.jobs" for port in self.expose["ports"]]
        if (spec.get("ssh") or {}).get("enabled"):
            status["sshUrl"] = f"ssh://{self.id}@ssh.hf.jobs"
        out = {
            "type": "job",
            "id": self.id,
            "createdAt": iso(self.created),
            "createdBy": accounts.identify(self.user),
            "owner": accounts.owner(self.namespace),
            "initiator": self.initiator,
            "status": status,
            "durations": durations,
            **view_spec(spec),
            "labels": self.labels,
            "expose": self.expose or {"ports": []},
        }
        if self.started:
            out["startedAt"] = iso(self.started)
        if self.finished:
            out["finishedAt"] = iso(self.finished)
        return out

    def emit(self, text: str) -> None:
        with self.changed:
            self.events.append({"data": text, "timestamp": iso()})
            self.changed.notify_all()

    def move(self, stage: str, message: str | None = None) -> None:
        with self.changed:
            if self.stage in TERMINAL:
                return
            now = time.time()
            self.stage = stage
            self.message = message
            self.transitions.append((now, stage))
            if stage == "RUNNING" and not self.started:
                self.started = now
            if stage in TERMINAL:
                self.finished = now
                self.logs_done = True
            self.changed.notify_all()

    def start(self) -> None:
        self.thread.start()

    def cancel(self, reason: str | None = None) -> None:
        self.cancel_reason = self.cancel_reason or reason
        self.canceled.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the job has ended."""
        self.thread.join(timeout)

    # -- life

    def _live(self) -> None:
        try:
            self._run()
        except Exception as error:  # a defect of the simulator must be seen, never silent
            self.execution["internalError"] = repr(error)
            self.emit(f"hubsim internal error: {error!r}")
            self.move("ERROR", f"hubsim internal error: {error!r}")

    def _run(self) -> None:
        cfg, plan = self.hub.cfg, self.plan
        timeout = self.spec.get("timeoutSeconds") or cfg["defaultTimeout"]
        attempts = self.spec.get("attempts") or 1
        for attempt in range(1, attempts + 1):
            self.message = plan.get("schedMessage")
            if self.canceled.wait(plan.get("schedSecs", cfg["schedSecs"])):
                return self.move("CANCELED", "Job canceled")
            self.move("RUNNING")
            self.emit(f"===== Job started at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} =====")
            begun = self.started if attempt == 1 and self.started else time.time()
            scripted = cfg["exec"] == "off" or not {"logs", "exitCode", "runSecs"}.isdisjoint(plan)
            code, why = (self._play if scripted else self._execute)(begun + timeout, attempt)
            self.exit_code = code
            with self.changed:
                self.logs_done = attempt == attempts or code == 0 or why is not None
                self.changed.notify_all()
            if why is None and code != 0 and attempt < attempts:
                self.failures += 1
                self.stage = "SCHEDULING"
                self.transitions.append((time.time(), "SCHEDULING"))
                continue
            time.sleep(plan.get("stageLagSecs", cfg["stageLagSecs"]))
            return self._end(code, why)
        return None

    def _end(self, code: int, why: str | None) -> None:
        if why == "canceled":
            return self.move("CANCELED", "Job canceled")
        if why == "timeout":
            return self.move("ERROR", "Job timeout")
        if code == 0:
            return self.move("COMPLETED", self.plan.get("message"))
        self.failures += 1
        reason = "OOMKilled" if code == 137 else "Error"
        return self.move("ERROR", self.plan.get("message") or f"Job failed with exit code: {code}. Reason: {reason}")

    def _play(self, deadline: float, attempt: int) -> tuple[int, str | None]:
        plan = self.plan
        lines = plan.get("logs", [f"hubsim scripted run of {shlex.join(self.spec.get('command') or [])}"])
        seconds = plan.get("runSecs", 0.1) / max(1, len(lines))
        for index in range(max(1, len(lines))):
            if self.canceled.wait(min(seconds, max(0.0, deadline - time.time()))):
                return 143, "canceled"
            if time.time() >= deadline:
                return 143, "timeout"
            if index < len(lines):
                self.emit(str(lines[index]))
        codes = plan.get("exitCode", 0)
        return (codes[min(attempt - 1, len(codes) - 1)] if isinstance(codes, list) else codes), None

    def _execute(self, deadline: float, attempt: int) -> tuple[int, str | None]:
        if attempt > 1:  # another machine: only the volumes are as they were
            for name in ("home", "tmp", "work"):
                shutil.rmtree(self.dir / name)
        self.attempt = attempt
        try:
            return self._execute_once(deadline)
        finally:
            for mount in self.mounts:
                mount.close()
            self.mounts.clear()

    def _execute_once(self, deadline: float) -> tuple[int, str | None]:
        prepared = container.prepare(self)
        if prepared is None:
            return 127, None
        argv, env, mounts = prepared
        self.execution |= {"argv": argv, "env": env, "mounts": {k: str(v[0]) for k, v in mounts.items()}}
        if self.hub.overlay:
            hosts = self.hub.hosts_file(self) if self.spec.get("network") else None
            argv = container.in_overlay(argv, self.dir, mounts, hosts)
            env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}
        try:
            process = subprocess.Popen(
                argv,
                cwd=self.dir / "work",
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self.emit(f"exec: {error}")
            return 127, None
        self.process = process
        why: list[str] = []
        watcher = threading.Thread(target=self._watch, args=(process, deadline, why), daemon=True)
        watcher.start()
        with process:
            assert process.stdout is not None
            for raw in process.stdout:
                self.emit(raw.decode("utf-8", "replace").rstrip("\n"))
            code = process.wait()
        watcher.join()
        kill_group(process, signal.SIGKILL)  # stragglers of the process group die with the container
        return (128 - code if code < 0 else code), (why[0] if why else None)

    def _watch(self, process: subprocess.Popen[bytes], deadline: float, why: list[str]) -> None:
        while process.poll() is None:
            if self.canceled.wait(min(0.1, max(0.01, deadline - time.time()))):
                why.append("canceled")
            elif time.time() >= deadline:
                why.append("timeout")
            if why:
                kill_group(process, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.hub.cfg["graceSecs"])
                return kill_group(process, signal.SIGKILL)
        return None


def kill_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def view_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """The part of a job's answer that mirrors its request; of secrets the names only."""
    out = {key: spec[key] for key in ("dockerImage", "spaceId", "arch", "resourceGroupId", "network") if spec.get(key)}
    out |= {
        "command": spec.get("command") or [],
        "arguments": spec.get("arguments") or [],
        "flavor": spec["flavor"],
        "environment": spec.get("environment") or {},
        "secrets": sorted(spec.get("secrets") or {}),
        "labels": spec.get("labels") or {},
    }
    if spec.get("timeoutSeconds"):
        out["timeout"] = spec["timeoutSeconds"]
    if spec.get("attempts"):
        out["retry"] = spec["attempts"] - 1
    if spec.get("volumes"):
        out["volumes"] = [v if v["type"] == "bucket" else {**v, "readOnly": True} for v in spec["volumes"]]
    return out
