"""Rules about the job on Hugging Face Jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.planning.choose import over_cap
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.names import is_label_key, is_label_value, slug
from hfjobs_trainer.planning.timeout import binding_limit
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.durations import format_duration
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.groups import Hardware
from hfjobs_trainer.tokens import masked, name_of_secret, names_a_secret

MIN_SECONDS = 300
"""Shortest timeout that is sent, seconds: the packages alone take minutes to install."""

# What the Hub takes as names, read off its OpenAPI document.
_ENV_NAME = re.compile(r"[a-zA-Z][_a-zA-Z0-9]+")
_SECRET_NAME = re.compile(r"[a-zA-Z][_a-zA-Z0-9]*")

_RESOURCE_GROUP = re.compile(r"[0-9a-fA-F]{24}")
MOST_PORTS = 20
"""Ports that Jobs' proxy leads to at most, of each job."""

OUR_LABELS = frozenset(
    {
        "sdk",
        "method",
        "spec",
        "inputs",
        "group",
        "name",
        "submit-id",
        "node-group",
        "node-rank",
        "nodes",
        "run",
        "resumes",
    }
)
"""Labels by which this package and the Hub find a job again."""


@rule("JOB001", stage="run", scope="remote", scripts=True)
def hub_run_needs_a_timeout(context: Context[TrainSpec]) -> Iterator[Found]:
    """A run on the Hub needs a timeout.

    What it does:
        Refuses a spec without `timeout` on Hugging Face Jobs where the time that the run takes cannot be estimated;
        where it can, the timeout is the upper estimate and 25%. Offline, and where the Hub does not answer, this is not
        checked.

    Why:
        The server's own default is 30 minutes, after which it ends the job, and what was not saved is lost.

    Example:
        ```python
        hft.submit_sft(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", hub_model_id="me/model")
        ```

    Use instead:
        ```python
        hft.submit_sft(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", hub_model_id="me/model", timeout="3h")
        ```
    """
    if context.timeout_seconds is not None:
        return
    choice = context.choice
    if choice is not None and not context.decided(context.run.unknown_amounts):
        about = [path for item in context.run.unknown for path in item.about]
        need(choice.flavor, "the machine, for its speed", "hardware.flavor", *about)
    why = "is needed: without it, Hugging Face Jobs ends the run after 30 minutes"
    yield Found("timeout", why, 'timeout="3h"')


@rule("JOB002", stage="run", scope="remote", scripts=True)
def timeout_is_long_enough(context: Context[TrainSpec]) -> Iterator[Found]:
    """A timeout leaves time to start.

    What it does:
        Refuses a `timeout` that is under 300 seconds with its padding.

    Why:
        The clock runs while the packages are installed and the model is loaded; that alone takes minutes. A number
        without a unit is seconds.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., timeout=3)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., timeout="3h")
        ```
    """
    seconds, given = context.timeout_seconds, context.spec.timeout
    if seconds is None or seconds >= MIN_SECONDS or over_cap(context.spec.hardware, context.duration):
        return
    path = binding_limit(context.spec, seconds)
    if given is None or path != "timeout":
        why = f"ends the job after {seconds} s; it needs at least {MIN_SECONDS} s to start"
        price = context.machine.usd_per_hour or 0.0
        enough = MIN_SECONDS / 3600 * (price if path == "hardware.max_usd" else 1.0)
        yield Found(path, why, change(context.spec, {path: -int(-enough * 1.05 * 100 // 1) / 100}))
    else:
        padded = f"{format_duration(given)} ({seconds} s with padding)"
        why = f"{padded} is too short: a job needs at least {MIN_SECONDS} s to start"
        # hours were meant, or minutes
        number = given if given < 60 else -(-given // 60)
        yield Found("timeout", why, f'timeout="{number}h"')


@rule("JOB003", scope="remote", scripts=True)
def labels_are_accepted(context: Context[TrainSpec]) -> Iterator[Found]:
    """Labels are of a form that the Hub accepts.

    What it does:
        Refuses keys and values of `labels` with other characters than letters, digits, `-` and `_`, or with more than
        100; and the keys by which this package finds its jobs again.

    Why:
        The Hub refuses the job, periods included, although its documentation allows them.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., labels={"model": "Qwen/Qwen2.5-0.5B"})
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., labels={"model": "Qwen-Qwen2-5-0-5B"})
        ```
    """
    allowed = "may have letters, digits, - and _ only, 100 at most"
    labels = context.spec.labels
    fix = change(context.spec, {"labels": {_key(key): _value(value) for key, value in labels.items()}})
    for key, value in labels.items():
        if key in OUR_LABELS:
            yield Found("labels", f'the label "{key}" is set by this package', fix)
        elif not is_label_key(key):
            yield Found("labels", f'the key "{masked(key)}" {allowed}', fix)
        if not is_label_value(value):
            yield Found(f"labels.{key}", f'the value "{masked(value)}" {allowed}', fix)


def _key(key: str) -> str:
    name = key if is_label_key(key) else slug(masked(key)) or "label"
    return f"my-{name}" if name in OUR_LABELS else name


def _value(value: str) -> str:
    return value if is_label_value(value) else slug(masked(value))


@rule("JOB004", scope="remote", scripts=True)
def environment_names_are_accepted(context: Context[TrainSpec]) -> Iterator[Found]:
    """Environment variables and secrets have names that the Hub accepts.

    What it does:
        Refuses names in `env` and `secrets` that do not begin with a letter or have other characters than letters,
        digits and `_`, names in `env` of one letter, and names that are in both.

    Why:
        The Hub refuses the job.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., env={"_DEBUG": "1"})
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., env={"DEBUG": "1"})
        ```
    """
    spec = context.spec
    secrets = [name_of_secret(entry) for entry in spec.secrets]
    allowed = "must begin with a letter and have only letters, digits and _"
    fixes = {
        "env": {_plain(name, _ENV_NAME): value for name, value in spec.env.items() if name not in secrets},
        "secrets": [_plain(name, _SECRET_NAME) for name in secrets],
    }
    # what repeats env would show what should not be there
    shown = not any(names_a_secret(name, value) for name, value in spec.env.items())
    for kind, names, pattern in (("env", list(spec.env), _ENV_NAME), ("secrets", secrets, _SECRET_NAME)):
        for name in names:
            if not pattern.fullmatch(name):
                more = ", two at least" if kind == "env" else ""
                mended = _plain(name, pattern) != name and (shown or kind == "secrets")
                fix = change(spec, {kind: fixes[kind]}) if mended else ""
                yield Found(kind, f'the name "{name}" {allowed}{more}', fix)
    for name in secrets:
        if name in spec.env:
            fix = change(spec, {"env": fixes["env"]}) if shown else ""
            yield Found("env", f"{name} is also in secrets", fix)


def _plain(name: str, pattern: re.Pattern[str]) -> str:
    """The name in a form that the Hub accepts, or as it is if nothing of it would be left."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", masked(name)).lstrip("_0123456789")
    return plain if pattern.fullmatch(plain) and not pattern.fullmatch(name) else name


@rule("JOB005", scope="remote")
def fresh_machine_has_no_checkpoint(context: Context[TrainSpec]) -> Iterator[Found]:
    """A fresh machine has no checkpoint to resume from.

    What it does:
        Refuses `resume_from_checkpoint` on Hugging Face Jobs.

    Why:
        It is a path on the machine that trains, and a job's machine starts empty: the trainer would find nothing there.
        A run on Jobs that was stopped goes on with `job.resume()`.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., resume_from_checkpoint="out/checkpoint-500")
        ```

    Use instead:
        ```python
        hft.Job.from_id("me/687f911eaea852de79c4a50a").resume()
        ```
    """
    if context.spec.resume_from_checkpoint is not None:
        why = "a job starts on an empty machine; to go on with another job, use its resume()"
        yield Found("resume_from_checkpoint", why, "resume_from_checkpoint=None")


def _without(spec: JobSpec, *names: str, **others: Any) -> str:
    """The fix that takes these fields from the hardware, or gives them other values."""
    removed: dict[str, Any] = {f"hardware.{name}": REMOVE for name in names}
    return change(spec, removed | {f"hardware.{name}": value for name, value in others.items()})


@rule("JOB006", stage="run", scope="remote", severity="warning")
def attempts_begin_anew(context: Context[TrainSpec]) -> Iterator[Found]:
    """A further attempt begins the training anew.

    What it does:
        Warns of `attempts` above 1 where checkpoints stay on the machine's disk: with a timeout of 15 minutes at most.

    Why:
        The disk is not known to outlive a failure. From a bucket or the Hub the script goes on at the last checkpoint.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., timeout="10m", hardware=hft.Hardware(attempts=3))
        ```

    Use instead:
        ```python
        hft.SFT(..., timeout="10m", hardware=hft.Hardware(attempts=3), output=hft.Output(checkpoints="bucket"))
        ```
    """
    hardware = context.spec.hardware
    if hardware.attempts > 1 and hardware.nodes == 1 and context.kept.place == "disk":
        why = f"a failed attempt is not continued but begun anew, so the run may cost {hardware.attempts} times as much"
        fix = {"output.checkpoints": "bucket"} if context.backend.ships_data else {"hardware.attempts": REMOVE}
        yield Found("hardware.attempts", why, change(context.spec, fix))


@rule("JOB007", scope="remote")
def nodes_have_one_attempt(context: Context[TrainSpec]) -> Iterator[Found]:
    """A run on several nodes has one attempt.

    What it does:
        Refuses `attempts` above 1 with `nodes` above 1.

    Why:
        Each node is a job of its own. Jobs would start the one that failed again, while the others have ended with it:
        it would wait for them, and be paid for, until its timeout.

    Example:
        ```python
        hft.Hardware(flavor="a10g-large", nodes=2, attempts=2)
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-large", nodes=2)
        ```
    """
    hardware = context.spec.hardware
    if hardware.attempts > 1 and hardware.nodes > 1:
        why = f"one of {hardware.nodes} nodes would start again without the others, which end when it fails"
        yield Found("hardware.attempts", why, _without(context.spec, "attempts"))


@rule("JOB008", scope="remote", scripts=True)
def ports_can_be_exposed(context: Context[JobSpec]) -> Iterator[Found]:
    """Ports are such as Jobs' proxy leads to.

    What it does:
        Refuses ports in `expose` that are not from 1 to 65535, and more than 20 of them.

    Why:
        The Hub refuses the job.

    Example:
        ```python
        hft.Hardware(flavor="a10g-large", expose=[80000])
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-large", expose=[8000])
        ```
    """
    hardware = context.spec.hardware
    ports = list(dict.fromkeys(hardware.expose))
    good = [port for port in ports if 1 <= port <= 65535]
    wrong = ", ".join(str(port) for port in ports if not 1 <= port <= 65535)
    fix = _without(context.spec, expose=good[:MOST_PORTS]) if good else _without(context.spec, "expose")
    if wrong:
        yield Found("hardware.expose", f"{wrong}: ports are numbers from 1 to 65535", fix)
    elif len(ports) > MOST_PORTS:
        yield Found("hardware.expose", f"{len(ports)} ports, of which Jobs exposes {MOST_PORTS} at most", fix)


@rule("JOB009", scope="remote", scripts=True)
def resource_group_is_an_id(context: Context[JobSpec]) -> Iterator[Found]:
    """A resource group is given by its id.

    What it does:
        Refuses a `resource_group_id` that does not have 24 hexadecimal digits.

    Why:
        The Hub refuses the job. The id is in the address of the group's page, in the settings of the organization; its
        name is something else.

    Example:
        ```python
        hft.Hardware(flavor="a10g-large", resource_group_id="research")
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-large", resource_group_id="66670e5163145ca562cb1988")
        ```
    """
    hardware = context.spec.hardware
    group = hardware.resource_group_id
    if group is not None and not _RESOURCE_GROUP.fullmatch(group):
        why = f'"{masked(group)}" is not an id, which has 24 hexadecimal digits'
        yield Found("hardware.resource_group_id", why, _without(context.spec, "resource_group_id"))


@rule("JOB010", scripts=True, severity="warning")
def only_jobs_offer_these(context: Context[JobSpec]) -> Iterator[Found]:
    """What only Jobs offer is of no use on this machine.

    What it does:
        Warns of `attempts`, `stop_if_over`, `ssh`, `expose` and `resource_group_id` on the local backend.

    Why:
        The run is a process of this machine: nothing starts it again, nobody pays, and its pace was not estimated.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., hardware=hft.Hardware(ssh=True), backend="local")
        ```

    Use instead:
        ```python
        hft.submit_sft(model=..., dataset=..., backend="local")
        ```
    """
    hardware = context.spec.hardware
    idle = Hardware.model_construct()
    names = ("attempts", "stop_if_over", "ssh", "expose", "resource_group_id")
    given = [name for name in names if getattr(hardware, name) != getattr(idle, name)]
    if given and context.backend.is_here:
        path = f"hardware.{given[0]}" if len(given) == 1 else "hardware"
        why = f"{' and '.join(given)}: only Jobs offer that, so it is ignored here"
        yield Found(path, why, _without(context.spec, *given))


@rule("JOB011", scope="remote", scripts=True, severity="warning")
def ssh_costs(context: Context[JobSpec]) -> Iterator[Found]:
    """Who enters a job by SSH pays for it by the minute, and reads its secrets.

    What it does:
        Warns of `ssh=True`.

    Why:
        The machine is billed until the script ends or the timeout is over, whether anybody is in it or not; a session
        neither prolongs it nor is kept. Everyone who may write in the namespace can enter it with a key of their
        account, and the values of its secrets are in its environment.

    Example:
        ```python
        hft.Hardware(flavor="a10g-large", ssh=True)
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-large")
        ```
    """
    hardware = context.spec.hardware
    if hardware.ssh:
        why = "all who may write in its namespace can enter the job and read its secrets, while it is billed as usual"
        yield Found("hardware.ssh", why, _without(context.spec, "ssh"))
