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
from typing import TYPE_CHECKING, Any, Self

import hfjobs_trainer
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.facts import Facts, SimulatedPeak, SimulationFacts
from hfjobs_trainer.facts.backends import HUB, BackendTraits
from hfjobs_trainer.planning.memory.simulated import question_of, why_not
from hfjobs_trainer.planning.memory.workload import Workload

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

__all__ = ["MissingLibrariesError", "Simulator", "simulate", "simulate_for"]

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


def simulate(
    runs: Sequence[tuple[Workload, int]], *, num_workers: int = 1, python: str | None = None
) -> list[SimulatedPeak]:
    """Simulate one training step of each run on the CPU, without weights and without a GPU.

    Args:
        runs: What is to be simulated, each with the number of its GPUs.
        num_workers: Child processes at work at a time; each takes about 0.5 GiB of memory.
        python: The interpreter; default: the running one.

    Returns:
        One record for each run, in their order. One that cannot be simulated, or not in time, has ``unsupported`` with
        the reason.

    Raises:
        MissingLibrariesError: torch, transformers, accelerate, PEFT or TRL cannot be imported.
    """
    with Simulator(python) as simulator:
        return simulator.simulate(runs, num_workers=num_workers)


def simulate_for(
    spec: TrainSpec, facts: Facts, *, backend: BackendTraits = HUB, simulator: Simulator | None = None
) -> Facts:
    """The facts, with a simulation of the run that is planned from them.

    Where the simulation changes the plan, what is planned then is simulated as well, four times at most.

    Args:
        spec: What is to be trained.
        facts: What is known.
        backend: Where it will run.
        simulator: The processes to ask; default: one that is started and stopped.

    Raises:
        MissingLibrariesError: As for ``simulate``.
    """
    from hfjobs_trainer.planning.assemble import draft

    if simulator is None:
        with Simulator() as started:
            return simulate_for(spec, facts, backend=backend, simulator=started)
    for _ in range(ROUNDS):
        planned = draft(spec, facts, backend=backend)
        asked = planned.workload, planned.machine.world_size
        known = facts.simulation or SimulationFacts()
        if known.find(question_of(*asked)) is not None:
            break
        facts = replace(facts, simulation=SimulationFacts((*known.peaks, *simulator.simulate([asked]))))
    return facts


# What was answered in this process, by interpreter and question: the libraries do not change meanwhile.
_ANSWERED: dict[tuple[str, str], SimulatedPeak] = {}


class Simulator:
    """Processes that simulate, which stay between one question and the next; to be used as a context manager.

    The import of torch and TRL takes most of the time of a first answer, so ``start`` may be called while there is
    something else to wait for.

    Args:
        python: The interpreter; default: the running one.
    """

    def __init__(self, python: str | None = None) -> None:
        self._python = python or sys.executable
        self._idle: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._idle:
            self._idle.pop().stop()

    def start(self) -> None:
        """Start a process, which then imports what it needs."""
        if not self._idle:
            self._idle.append(_Child(self._python))

    def simulate(self, runs: Sequence[tuple[Workload, int]], *, num_workers: int = 1) -> list[SimulatedPeak]:
        """As the function of this name."""
        reasons = [why_not(workload) for workload, _ in runs]
        questions = [question_of(*run) for run in runs]
        # runs that differ in what is not simulated may ask the same question
        new = {question for question, reason in zip(questions, reasons, strict=True) if reason is None}
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for question in sorted(new - {question for python, question in _ANSWERED if python == self._python}):
            waiting.put(question)
        found, errors = dict[str, SimulatedPeak](), list[HFTError]()

        def work() -> None:
            try:
                self._work(waiting, found)
            except HFTError as error:
                errors.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(num_workers, waiting.qsize()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [
            SimulatedPeak(question, unsupported=reason)
            if reason is not None
            else found.get(question) or _ANSWERED[self._python, question]
            for question, reason in zip(questions, reasons, strict=True)
        ]

    def _work(self, waiting: queue.SimpleQueue[str], found: dict[str, SimulatedPeak]) -> None:
        """Answer what is waiting, with one child after another should one die."""
        while True:
            try:
                question = waiting.get_nowait()
            except queue.Empty:
                return
            child = self._idle.pop() if self._idle else _Child(self._python)
            answer = child.ask(question)
            if answer is None:
                child.stop()
                found[question] = SimulatedPeak(question, unsupported="the simulation died or took too long")
                continue
            self._idle.append(child)
            if "missing" in answer:
                _drain(waiting)
                raise MissingLibrariesError(
                    f'{answer["missing"]}: a simulation needs it. Type: pip install "hfjobs-trainer[local]"'
                )
            _ANSWERED[self._python, question] = _peak(question, answer)


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
