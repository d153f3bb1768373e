"""Why a run failed, by its log, and what to type instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.display import html_pairs
from hfjobs_trainer.running.ending import ENDED_WITH_ANOTHER
from hfjobs_trainer.running.ending import exit_code as exit_code_of
from hfjobs_trainer.running.failing import read_failing
from hfjobs_trainer.running.signatures import KINDS, Found, fill, find, package_of, signatures

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Flavor
    from hfjobs_trainer.running.backends.base import JobStatus

MOST = 3
"""Most diagnoses of one run."""
# Why the Hub itself cancels a job; one that the user cancels did not fail.
_CANCELED = re.compile(r"NO_CREDITS|NO_SUBSCRIPTION|RESOURCE_GROUP_LIMIT|credit", re.IGNORECASE)
_GIB = re.compile(r"([\d.]{1,12}) ?GiB")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a run failed.

    Attributes:
        code: Such as ``"RUN101"``: its section in ``references/troubleshooting.md``.
        cause: What happened, in one sentence, with what the log says of it.
        fix: What to type instead; code stands between backquotes.
        source: URL or document in which the failure is described.
    """

    code: str
    cause: str
    fix: str
    source: str

    def __repr__(self) -> str:
        return f"Diagnosis({self.code!r}, {self.cause!r})"

    def __str__(self) -> str:
        return f"{self.code}: {self.cause}\n  fix: {self.fix}"

    def _repr_html_(self) -> str:
        return html_pairs({"code": self.code, "cause": self.cause, "fix": self.fix, "source": self.source})


def diagnose(log_text: str, exit_code: int | None = None) -> tuple[Diagnosis, ...]:
    """Say why the run of a log failed.

    Only what came after the last sign of progress counts, so a log of a run that goes on or ended well gives nothing.
    Of a log of more than 1.7 million characters, 200,000 from its beginning and 1.5 million from its end are read.

    Args:
        log_text: The log, as it was printed; that of several nodes or processes as well.
        exit_code: Exit code of the script, if it is known; 0: it ended well, so that there is nothing to explain.

    Returns:
        What may have been the reason, the likeliest first, at most three; empty if nothing is known.
    """
    return diagnose_run(log_text, exit_code)


def diagnose_run(
    log_text: str,
    exit_code: int | None = None,
    *,
    message: str = "",
    flavor: str | None = None,
    resumable: bool | None = None,
) -> tuple[Diagnosis, ...]:
    """``diagnose`` with what is known of a run beside its log.

    Args:
        log_text: The log.
        exit_code: Exit code of the script; ``None``: unknown.
        message: The backend's explanation of the end.
        flavor: Flavor that it ran on; ``None``: unknown, or none.
        resumable: Whether it can go on from a checkpoint; ``None``: unknown, so that the log decides.
    """
    if exit_code == 0 and not message:
        return ()
    failing = read_failing(log_text)
    places = failing.groups
    if exit_code or message:  # it did fail, perhaps while another process still told of progress
        places.append(failing.before)
    found: list[Found] = []
    for lines in places:
        found = find(lines)
        if found:
            break
    found += _by_end(exit_code, message)
    step = None if failing.step is None else str(failing.step)
    resumable = failing.kept if resumable is None else resumable
    return _told(found, _Run(step, flavor, resumable))


def diagnose_end(log_text: str, status: JobStatus, *, flavor: str | None, resumable: bool) -> tuple[Diagnosis, ...]:
    """Say why a job failed.

    Args:
        log_text: Its log.
        status: Its final status.
        flavor: Flavor that it ran on; ``None``: unknown, or none.
        resumable: Whether it can go on from a checkpoint.
    """
    # a node that ended because another one did says nothing of the reason
    nodes = [
        told for member in status.members if (told := member.message) and exit_code_of(member) != ENDED_WITH_ANOTHER
    ]
    message = " ".join(filter(None, [status.message, *nodes]))
    if status.stage != "ERROR" and not _CANCELED.search(message):
        return ()
    code = exit_code_of(status)
    return diagnose_run(log_text, code, message=message or status.stage, flavor=flavor, resumable=resumable)


def _by_end(exit_code: int | None, message: str) -> list[Found]:
    """What exit code and status say by themselves."""
    found: list[Found] = []
    for signature in signatures():
        said = next((match for pattern in signature.status if (match := pattern.search(message[:2000]))), None)
        if said is not None:
            found.append(Found(signature, -1, {name: value for name, value in said.groupdict().items() if value}))
        elif exit_code is not None and exit_code in signature.exit_codes:
            found.append(Found(signature, -1, {}))
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    """What the texts may name beside what the log says at the place."""

    step: str | None
    flavor: str | None
    resumable: bool


def _told(found: Sequence[Found], run: _Run) -> tuple[Diagnosis, ...]:
    ordered = sorted(found, key=lambda item: (KINDS.index(item.signature.kind), item.place < 0, item.place))
    best = ordered[0].signature.kind if ordered else "cause"
    # a follow-on of what is known is not told; what our own script says may have a cause of its own
    shown = [item for item in ordered if item.signature.kind in (best, "cause" if best == "told" else best)]
    told: dict[str, Diagnosis] = {}
    for item in shown:
        if item.signature.code not in told:
            told[item.signature.code] = _diagnosis(item, run)
    return tuple(told.values())[:MOST]


def _diagnosis(found: Found, run: _Run) -> Diagnosis:
    signature, values = found.signature, found.values

    def derive(name: str) -> str | None:
        if name == "step":
            return run.step
        if name == "again":
            return "`job.resume()`" if run.resumable else "`hft.submit(spec)`"
        if name == "longer" and run.resumable:
            return '`job.resume(timeout="2h")` goes on from the last checkpoint'
        if name == "fix" and "attempts" in values:  # what our own script proposes
            ways = (each.replace(" with ", "` with `") for each in values["attempts"].split(", or "))
            return ", or ".join(f"`{way}`" for way in ways)
        if name == "package" and "module" in values:
            return package_of(values["module"])
        if name == "cuda" and "version" in values:  # 12080 is 12.8
            return f"{int(values['version']) // 1000}.{int(values['version']) % 1000 // 10}"
        if name in ("more_ram", "more_disk"):
            return more_of("ram_gb" if name == "more_ram" else "disk_gb", run.flavor)
        if name in ("larger", "larger_gib"):
            larger = larger_gpu(run.flavor, values.get("capacity"))
            return (
                None if larger is None else larger.name if name == "larger" else f"{larger.usable_gpu_memory_gib:.0f}"
            )
        return None

    cause, fix = fill(signature.cause, values, derive), fill(signature.fix, values, derive)
    return Diagnosis(signature.code, cause, fix, signature.source)


def larger_gpu(flavor: str | None, capacity: str | None) -> Flavor | None:
    """The cheapest flavor whose GPUs have more memory than those of a run.

    Args:
        flavor: Flavor of the run; ``None``: unknown.
        capacity: Memory of one of its GPUs as torch says it, such as ``"14.56 GiB"``; for a run without a flavor.

    Returns:
        The flavor, with as many GPUs at least; ``None`` if there is none, or nothing is known of the run.
    """
    from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot

    mine = None if flavor is None else find_flavor(flavor, snapshot())
    said = _GIB.search(capacity or "")
    memory = mine.usable_gpu_memory_gib if mine is not None else float(said[1]) if said is not None else None
    if not memory:
        return None
    gpus = mine.num_gpus if mine is not None else 1
    return next(
        (
            each
            for each in snapshot().flavors
            if each.num_gpus >= gpus and (each.usable_gpu_memory_gib or 0.0) > 1.05 * memory
        ),
        None,
    )


def more_of(what: Literal["ram_gb", "disk_gb"], flavor: str | None) -> str | None:
    """The cheapest flavor with more RAM or disk, as many GPUs and none smaller; ``None`` if there is none."""
    from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot

    mine = None if flavor is None else find_flavor(flavor, snapshot())
    if mine is None:
        return None
    memory = mine.usable_gpu_memory_gib or 0.0
    for each in snapshot().flavors:
        is_as_large = each.num_gpus >= mine.num_gpus and (each.usable_gpu_memory_gib or 0.0) >= memory
        if is_as_large and getattr(each, what) > 1.05 * getattr(mine, what):
            return each.name
    return None
