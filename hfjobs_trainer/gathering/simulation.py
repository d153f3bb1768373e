"""Peak memory by simulation: asks child processes, which alone import torch."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hfjobs_trainer
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.facts import Facts, SimulatedPeak, SimulationFacts
from hfjobs_trainer.facts.backends import HUB, BackendTraits
from hfjobs_trainer.planning.memory.simulated import question_of, why_not
from hfjobs_trainer.planning.memory.workload import Workload

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

__all__ = ["MissingLibrariesError", "simulate", "simulate_for"]

# What a child may take until its first answer, which includes the import of torch, and for each answer after it,
# seconds. Beyond it the child is killed.
FIRST_SECONDS, NEXT_SECONDS = 300.0, 120.0
# Variables that a child needs to find its interpreter, its libraries and its caches; no token is among them.
_PASSED = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
# Plans that are simulated at most until one is found that its own simulation does not change.
ROUNDS = 4
_MODULE = "hfjobs_trainer.simulating"


class MissingLibrariesError(HFTError):
    """The libraries that a simulation needs are not installed."""


def simulate(workloads: Sequence[Workload], *, num_workers: int = 1, python: str | None = None) -> list[SimulatedPeak]:
    """Simulate one training step of each workload on the CPU, without weights and without a GPU.

    Equal workloads are simulated once. One takes a few seconds, the import of torch before the first not counted.

    Args:
        workloads: What is to be simulated.
        num_workers: Child processes at work at a time; each takes about 1 GiB of memory.
        python: The interpreter; default: the running one.

    Returns:
        One record for each workload, in their order. A workload that cannot be simulated, or not in time, has
        ``unsupported`` with the reason.

    Raises:
        MissingLibrariesError: torch, transformers, accelerate, PEFT or TRL cannot be imported.
    """
    asked: dict[str, SimulatedPeak | None] = {}
    reasons = [why_not(workload) for workload in workloads]
    questions = [question_of(workload) for workload in workloads]
    for question, reason in zip(questions, reasons, strict=True):
        if reason is None:
            asked[question] = None
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for question in asked:
        waiting.put(question)
    errors: list[HFTError] = []

    def work() -> None:
        try:
            _work(waiting, asked, python or sys.executable)
        except HFTError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(num_workers, len(asked)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    # workloads that differ in what is not simulated may ask the same question
    found = [
        SimulatedPeak(question, unsupported=reason) if reason else asked[question]
        for question, reason in zip(questions, reasons, strict=True)
    ]
    return [peak for peak in found if peak is not None]


def simulate_for(spec: TrainSpec, facts: Facts, *, backend: BackendTraits = HUB) -> Facts:
    """The facts, with a simulation of the run that is planned from them.

    Where the simulation changes the plan, what is planned then is simulated as well, four times at most.

    Args:
        spec: What is to be trained.
        facts: What is known.
        backend: Where it will run.

    Raises:
        MissingLibrariesError: As for ``simulate``.
    """
    from hfjobs_trainer.planning.assemble import draft

    for _ in range(ROUNDS):
        planned = draft(spec, facts, backend=backend).workload
        known = facts.simulation or SimulationFacts()
        if known.find(question_of(planned)) is not None:
            break
        facts = replace(facts, simulation=SimulationFacts((*known.peaks, *simulate([planned]))))
    return facts


def _work(waiting: queue.SimpleQueue[str], asked: dict[str, SimulatedPeak | None], python: str) -> None:
    """Answer what is waiting, with one child after another should one die."""
    child: _Child | None = None
    try:
        while True:
            try:
                question = waiting.get_nowait()
            except queue.Empty:
                return
            child = child or _Child(python)
            answer = child.ask(question)
            if answer is None:
                child.stop()
                child = None
                asked[question] = SimulatedPeak(question, unsupported="the simulation died or took too long")
            elif "missing" in answer:
                _drain(waiting)
                raise MissingLibrariesError(
                    f'{answer["missing"]}: a simulation needs it. Type: pip install "hfjobs-trainer[local]"'
                )
            else:
                asked[question] = _peak(question, answer)
    finally:
        if child is not None:
            child.stop()


def _drain(waiting: queue.SimpleQueue[str]) -> None:
    while not waiting.empty():
        try:
            waiting.get_nowait()
        except queue.Empty:
            return


def _peak(question: str, answer: dict[str, Any]) -> SimulatedPeak:
    if "unsupported" in answer:
        return SimulatedPeak(question, unsupported=str(answer["unsupported"]))
    return SimulatedPeak(
        question,
        static=answer["static"],
        peaks=answer["peaks"],
        gradients=answer["gradients"],
        needed=answer["needed"],
        reserved=answer["reserved"],
        depths=tuple(answer["depths"]),
        parameters=answer["parameters"],
        seconds=answer["seconds"],
    )


class _Child:
    """One process of ``hfjobs_trainer.simulating``."""

    def __init__(self, python: str) -> None:
        root = str(Path(hfjobs_trainer.__file__).parents[1])  # where the package is found, installed or not
        self._process = subprocess.Popen(
            [python, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
            env=_environment(root),
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seconds = FIRST_SECONDS
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, question: str) -> dict[str, Any] | None:
        """The answer; ``None`` if the child died or its time was up."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=self._seconds)
        except (OSError, queue.Empty):
            return None
        self._seconds = NEXT_SECONDS
        return json.loads(line) if line else None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                _close(stream)


def _close(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        # what the dead child did not read
        return


def _environment(root: str) -> dict[str, str]:
    """What a child sees: no tokens, no GPU, no Hub."""
    kept = {name: os.environ[name] for name in _PASSED if name in os.environ}
    path: Iterable[str] = (root, *filter(None, [os.environ.get("PYTHONPATH")]))
    return kept | {
        "PYTHONPATH": os.pathsep.join(path),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
    }
