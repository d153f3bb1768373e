"""Rules about the job on Hugging Face Jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hfjobs_trainer.planning.choose import over_cap
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.names import is_label_key, is_label_value, slug
from hfjobs_trainer.planning.timeout import binding_limit
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.durations import format_duration
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.tokens import masked, name_of_secret, names_a_secret

MIN_SECONDS = 300
"""Shortest timeout that is sent, seconds: the packages alone take minutes to install."""

# What the Hub takes as names, read off its OpenAPI document.
_ENV_NAME = re.compile(r"[a-zA-Z][_a-zA-Z0-9]+")
_SECRET_NAME = re.compile(r"[a-zA-Z][_a-zA-Z0-9]*")

OUR_LABELS = frozenset({"sdk", "method", "spec", "group", "name", "submit-id", "node-group", "node-rank", "nodes"})
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
        It is a path on the machine that trains, and a job's machine starts empty: the trainer would end with "Can't
        find a valid checkpoint".

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., resume_from_checkpoint="out/checkpoint-500")
        ```

    Use instead:
        ```python
        hft.submit_sft(model=..., dataset=..., resume_from_checkpoint="out/checkpoint-500", backend="local")
        ```
    """
    if context.spec.resume_from_checkpoint is not None:
        why = "a job starts on an empty machine, which has no checkpoint"
        yield Found("resume_from_checkpoint", why, "resume_from_checkpoint=None")
