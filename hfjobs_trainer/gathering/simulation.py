"""Peak memory by simulation: asks child processes, which alone import torch."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.facts import Facts, SimulatedPeak, SimulationFacts
from hfjobs_trainer.facts.backends import HUB, BackendTraits
from hfjobs_trainer.gathering.children import Child
from hfjobs_trainer.planning.memory.simulated import question_of, why_not
from hfjobs_trainer.planning.memory.workload import Workload

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

__all__ = ["MissingLibrariesError", "Simulator", "simulate", "simulate_for"]

# What a child may take until its first answer, which includes the import of torch, and for each answer after it,
# seconds. Beyond it the child is killed.
FIRST_SECONDS, NEXT_SECONDS = 300.0, 120.0
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
        self._idle: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._idle:
            self._idle.pop().stop()

    def start(self) -> None:
        """Start a process, which then imports what it needs."""
        if not self._idle:
            self._idle.append(self._child())

    def _child(self) -> Child:
        return Child(_MODULE, first_seconds=FIRST_SECONDS, next_seconds=NEXT_SECONDS, python=self._python)

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
            child = self._idle.pop() if self._idle else self._child()
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
