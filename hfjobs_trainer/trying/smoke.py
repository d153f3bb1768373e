"""What a smoke test is given, and what it found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.display import GAP, html_pairs, html_section, html_table, plural, text, visible
from hfjobs_trainer.errors import HFTError, SpecError, count_problems
from hfjobs_trainer.planning.arguments.trackers import TRACKERS
from hfjobs_trainer.planning.rules.model.loaded import trusts
from hfjobs_trainer.problems import Problem, html_problems
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import row_maps
from hfjobs_trainer.specs.rewards import Code
from hfjobs_trainer.trying.failures import explain, read_failure

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan

ROWS, STEPS = 64, 2
"""Rows that are looked at, the first ones, and optimizer steps."""
SUBJECT = "smoke test"
# Packages for GPUs, servers and trackers, in whose place a smoke test puts something else.
UNNEEDED = frozenset({"bitsandbytes", "deepspeed", "flash-attn", "kernels", "liger-kernel", "vllm", *TRACKERS}) - {
    "trackio"
}
# Field that names a model -> what the script calls it.
_CONSTANTS = {"teacher_model": "TEACHER", "reward_model": "REWARD_MODEL", "value_model": "VALUE_MODEL"}
# Lines of a log that a problem quotes.
_TAIL = 12


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a smoke test.

    Attributes:
        name: ``"packages"`` (their import), ``"twins"`` (the tiny models), ``"rows"``, ``"trainer"`` (its making, which
            prepares the rows), ``"training"``, ``"evaluation"``, ``"checkpoint"``, ``"resume"``, ``"save"``,
            ``"merge"``, ``"push"`` (all but the upload), ``"tracking"``.
        seconds: How long it took, without the stages within it.
        ok: Whether it ended well; one that did not is the last.
    """

    name: str
    seconds: float
    ok: bool = True


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """The result of a smoke test.

    Attributes:
        problems: What the rules find in the script, and what went wrong when it ran.
        stages: What was done, in order of its beginning; empty if the script was not run.
        not_covered: What this smoke test cannot see, or made smaller than it will be.
        seconds: How long it took, the making of an environment not counted.
        where: ``"this machine"``, or the id of the job.
        processes: How many processes trained.
        usd: What the job cost, US dollars; 0 on this machine, ``None`` if unknown.
        log: The end of the log, if it went wrong.
    """

    problems: tuple[Problem, ...] = ()
    stages: tuple[Stage, ...] = ()
    not_covered: tuple[str, ...] = ()
    seconds: float = 0.0
    where: str = "this machine"
    processes: int = 1
    usd: float | None = 0.0
    log: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the script ran to its end and there are no errors; warnings are allowed."""
        well = bool(self.stages) and all(stage.ok for stage in self.stages)
        return well and not any(problem.severity == "error" for problem in self.problems)

    def raise_for_problems(self) -> None:
        """Raise ``SpecError`` with all problems unless it went well."""
        if not self.ok:
            raise SpecError(self.problems, SUBJECT)

    @property
    def headline(self) -> str:
        """What came of it, in one line."""
        if not self.stages:
            return f"{count_problems(self.problems)}; the script was not run"
        told = f"{'passed' if self.ok else 'failed'} on {self.where} in {self.seconds:.0f} s"
        several = f", {self.processes} processes" if self.processes > 1 else ""
        cost = f", ${self.usd:.3f}" if self.usd else ""
        return f"{told}{several}{cost}" + ("" if self.ok else f", {count_problems(self.problems)}")

    def __repr__(self) -> str:
        return visible(f"<SmokeTest: {self.headline}>")

    def __str__(self) -> str:
        lines = [f"smoke test: {self.headline}"]
        width = max((len(stage.name) for stage in self.stages), default=0)
        for stage in self.stages:
            mark = "" if stage.ok else "  failed"
            lines.append(f"  {stage.name:<{width}}{GAP}{stage.seconds:6.1f} s{mark}")
        lines += [f"  {problem}" for problem in self.problems]
        if self.not_covered:
            lines += ["not covered", *(f"  {item}" for item in self.not_covered)]
        return "\n".join(visible(line) for entry in lines for line in entry.split("\n"))

    def _repr_html_(self) -> str:
        parts = [f"<b>smoke test: {text(self.headline)}</b>"]
        if self.problems:
            parts.append(html_problems(self.problems))
        if self.stages:
            rows = [(stage.name, f"{stage.seconds:.1f}", "" if stage.ok else "failed") for stage in self.stages]
            table = html_table(("stage", "seconds", ""), rows, right=("seconds",))
            parts.append(html_section(plural(len(rows), "stage"), table, is_open=not self.ok))
        if self.not_covered:
            items = {str(number): item for number, item in enumerate(self.not_covered, 1)}
            parts.append(html_section("not covered", html_pairs(items)))
        return f"<div>{''.join(parts)}</div>"


def settings_of(plan: Plan, *, asks: bool) -> dict[str, Any]:
    """What the mode is told of a run.

    Args:
        plan: The plan of the run.
        asks: Whether it asks the Hub if the token may write to the repository of the model.

    Raises:
        HFTError: The plan is of a script of the user's own, of which nothing is known.
    """
    run, spec = plan.run, cast("Any", plan.spec)
    if run is None:
        raise HFTError("a script of your own has no smoke test: what it trains is unknown")
    trusted = trusts(spec)
    commit = plan.revisions.get("model_revision", spec.model_revision)
    models: dict[str, dict[str, object]] = {"MODEL": {"revision": commit, "trust_remote_code": trusted}}
    for side, _ in run.side_models:
        if side.field in _CONSTANTS:
            models[_CONSTANTS[side.field]] = {"revision": side.revision, "trust_remote_code": trusted}
    models.setdefault("VALUE_MODEL", models.get("REWARD_MODEL", {}))
    commit = plan.revisions.get("lora.adapter_revision", spec.lora.adapter_revision) if spec.lora is not None else None
    adapter = {"revision": commit} if spec.lora is not None else {}
    return {
        "module": run.method.module,
        "trainer": run.method.trainer,
        "rows": ROWS,
        "steps": STEPS,
        "tracker": run.tracking.report_to,
        "models": models,
        "adapter": adapter,
        "all_layers": spec.lora is not None and _numbers_layers(spec.lora),
        "peft": spec.lora is not None,
        "asks": asks,
    }


def _numbers_layers(lora: Any) -> bool:
    """Whether an adapter names layers by their number, so that a model of two may lack them."""
    names = [lora.target_modules, lora.exclude_modules, lora.modules_to_save, getattr(lora, "target_parameters", None)]
    told = " ".join(str(name) for name in names if name)
    return bool(lora.layers_to_transform) or re.search(r"\d+\.|\.\d|[\[(|]\d|\\d", told) is not None


def processes_of(plan: Plan) -> int:
    """How many processes try it: two stand for several GPUs."""
    flavor, run = plan.flavor, plan.run
    several = run is not None and run.nodes > 1
    if flavor is not None and run is not None and not run.use_cpu:
        vllm = run.vllm
        several = several or flavor.num_gpus - (vllm.gpus_set_aside if vllm is not None else 0) > 1
    return 2 if several else 1


def left_out(plan: Plan, processes: int, *, is_here: bool, smaller: Sequence[str] = ()) -> tuple[str, ...]:
    """What a smoke test of this plan cannot see.

    Args:
        plan: The plan of the run.
        processes: How many processes tried it.
        is_here: Whether it was tried on this machine.
        smaller: What the mode replaced by something smaller, as it reports it.
    """
    told = [
        "memory and speed: the models were tiny and random",
        "whether the model learns: the loss of 2 steps says nothing",
    ]
    told.append(f"rows after the first {ROWS}")
    flavor = plan.flavor
    if flavor is not None and flavor.num_gpus:
        told.append(
            f"GPU kernels, drivers and bf16 arithmetic: it ran on a processor, not on {flavor.num_gpus}x {flavor.gpu}"
        )
    if processes > 1:
        told.append(f"NCCL and sharding: {processes} processes with a whole model each spoke through gloo")
    if plan.run is not None and plan.run.output.hub_model_id:
        told.append("the upload of the model itself")
    if is_here and plan.flavor is not None:
        told.append(
            'the job\'s image, secrets and network: smoke_test(..., backend="hub") tries them, for about a cent'
        )
    return (*told, *dict.fromkeys(smaller))


def functions_of(plan: Plan) -> list[str]:
    """Names of the user's functions in the script."""
    given: list[Any] = []
    for value in dict(plan.spec).values():
        given += cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
    maps = row_maps(plan.spec) if isinstance(plan.spec, TrainSpec) else []
    return [item.name for item in (*given, *maps) if isinstance(item, Code)]


def checked(plan: Plan) -> tuple[Problem, ...]:
    """Problems that the rules find in the script itself, and in where its model goes."""
    # of the job's other needs, submit tells; nobody has to push what is only tried
    tells = ("output",) if isinstance(plan.spec, TrainSpec) and plan.spec.output.pushes else ()
    return tuple(item for item in plan.problems if item.scope == "script" or item.path.startswith(tells))


def conclude(
    plan: Plan,
    event: Mapping[str, Any] | None,
    *,
    log: str,
    why: str,
    where: str,
    seconds: float,
    processes: int,
    usd: float | None = 0.0,
    stopped: bool = False,
) -> SmokeTest:
    """The result of a smoke test that was run.

    Args:
        plan: The plan of the run.
        event: What the mode reported; ``None`` if it came to no report.
        log: What the script wrote.
        why: What became of it, where there is no report.
        where: Where it ran.
        seconds: How long.
        processes: How many processes trained.
        usd: What it cost, US dollars.
        stopped: Whether it met a limit.
    """
    told = event or {}
    stages = [
        Stage(str(item["name"]), float(item["seconds"]), bool(item["ok"]))
        for item in cast("list[dict[str, Any]]", told.get("stages") or [])
    ]
    problems = list(checked(plan))
    tail = "\n".join([line for line in log.splitlines() if line.strip() and not line.startswith('{"event"')][-_TAIL:])
    spec = cast("Any", plan.spec)
    if error := told.get("error"):
        failure = read_failure(cast("dict[str, Any]", error))
        problems.append(explain(failure, functions_of(plan), spec.extra_dependencies))
    elif event is None or stopped:
        problems.append(Problem("SMOKE005" if stopped else "SMOKE006", "", f"{why}\n{tail}" if tail else why))
        stages = stages or [Stage("script", seconds, ok=False)]
    return SmokeTest(
        problems=tuple(problems),
        stages=tuple(stages),
        not_covered=left_out(plan, processes, is_here=where == "this machine", smaller=told.get("smaller") or ()),
        seconds=seconds,
        where=where,
        processes=processes,
        usd=usd,
        log=tail if error or event is None or stopped else "",
    )
