"""Rules about what a run may cost and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hfjobs_trainer.planning.choose import exceeded_caps, find_alternative
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.duration.ranges import format_seconds
from hfjobs_trainer.planning.estimate import Estimate
from hfjobs_trainer.planning.hardware.machine import hourly_usd
from hfjobs_trainer.planning.remedies import ENDLESS_HOURS, hours_of_writing, writes_for_long
from hfjobs_trainer.planning.rules.job import MIN_SECONDS
from hfjobs_trainer.planning.timeout import binding_limit, caps
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.durations import format_duration
from hfjobs_trainer.specs.fixes import change


def _wanted(context: Context[TrainSpec], cap: float | None) -> Estimate | None:
    """What the cap is held against: the machine that was named, else the cheapest that would do.

    ``None`` without a cap, and for a run that needs vLLM first.
    """
    if cap is None or context.choice is None or _days_without_vllm(context):
        return None
    choice = context.choice
    if choice.flavor is None:
        return choice.cheapest
    missing = " and ".join(context.run.unknown_amounts)
    about = [path for item in context.run.unknown_amounts for path in item.about]
    need(choice.duration, missing or "the speed of the machine", *about)
    return choice.estimate


def _cheaper(context: Context[TrainSpec]) -> tuple[str, str]:
    """What the cheapest machine that would do takes, and the fix that names it, with caps that it exceeds raised."""
    spec = context.spec
    found = find_alternative(context.run, context.hardware)
    if found is None or found.duration is None:
        return "", ""
    takes = f"${found.duration.usd.expected:.2f}, {found.duration.seconds.as_duration()}"
    raised = _raised(spec, exceeded_caps(spec.hardware, found.duration), found.machine.usd_per_hour)
    fix = change(spec, {"hardware.flavor": found.machine.name} | raised)
    return f"; {found.machine.name} takes about {takes}", fix


def _raised(spec: TrainSpec, caps: Mapping[str, float], usd_per_hour: float | None) -> dict[str, float]:
    """New values of these caps, by path, each a little above what is needed, and what a job needs to start."""
    hours = MIN_SECONDS / 3600 * spec.hardware.attempts
    least = {"max_usd": hours * (usd_per_hour or 0.0), "max_hours": hours}
    return {f"hardware.{name}": _above(max(needed, least[name])) for name, needed in caps.items()}


def _cap(spec: JobSpec, name: str) -> float:
    """The cap of this name; 0 where there is none."""
    return {"max_usd": spec.hardware.max_usd, "max_hours": spec.hardware.max_hours}[name] or 0.0


def _attempts(spec: JobSpec) -> str:
    """What to add to the time of one attempt, if there may be several."""
    return f", {spec.hardware.attempts} times" if spec.hardware.attempts > 1 else ""


def _above(usd: float) -> float:
    return -int(-usd * 1.05 // 1) if usd >= 10 else round(usd * 1.05 + 0.005, 2)


@rule("COST001", stage="run", scope="remote")
def run_costs_no_more_than_allowed(context: Context[TrainSpec]) -> Iterator[Found]:
    """The run is expected to cost no more than `max_usd`.

    What it does:
        Refuses a run whose expected cost is above `max_usd`, and names the cheapest machine that would do. `submit`
        raises `BudgetExceeded` for it.

    Why:
        `max_usd` also ends the job: a run that needs more would be ended before its end, and the money be lost.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., hardware=hft.Hardware(flavor="h200x8", max_usd=5))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), hardware=hft.Hardware(flavor="auto", max_usd=5))
        ```
    """
    cap = context.spec.hardware.max_usd
    option = _wanted(context, cap)
    usd = exceeded_caps(context.spec.hardware, option.duration).get("max_usd") if option is not None else None
    if cap is None or option is None or option.duration is None or usd is None:
        return
    spent = f"{option.duration.seconds.as_duration()}{_attempts(context.spec)}"
    why = f"the run is expected to cost ${usd:.2f} on {option.machine.name} ({spent}), above max_usd={cap:g}"
    other, fix = _cheaper(context)
    yield Found("hardware.max_usd", why + other, fix)


@rule("COST002", stage="run", scope="remote")
def run_takes_no_longer_than_allowed(context: Context[TrainSpec]) -> Iterator[Found]:
    """The run is expected to take no longer than `max_hours`.

    What it does:
        Refuses a run whose expected time is above `max_hours`.

    Why:
        `max_hours` also ends the job: a run that needs longer would be ended before its end, and the money be lost.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., num_train_epochs=100, hardware=hft.Hardware(flavor="t4-small", max_hours=1))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., num_train_epochs=1, hardware=hft.Hardware(flavor="auto", max_hours=1))
        ```
    """
    cap = context.spec.hardware.max_hours
    option = _wanted(context, cap)
    hours = exceeded_caps(context.spec.hardware, option.duration).get("max_hours") if option is not None else None
    if cap is None or option is None or option.duration is None or hours is None:
        return
    time = f"{option.duration.seconds.as_duration()}{_attempts(context.spec)}"
    why = f"the run is expected to take {time} on {option.machine.name}, above max_hours={cap:g}"
    found = None if context.spec.hardware.flavor == "auto" else find_alternative(context.run, context.hardware)
    faster = found is not None and found.reason is None
    fix = {"hardware.flavor": "auto"} if faster else _raised(context.spec, {"max_hours": hours}, None)
    yield Found("hardware.max_hours", why, change(context.spec, fix))


@rule("COST003", stage="run", scope="remote", severity="warning")
def timeout_is_longer_than_the_run(context: Context[TrainSpec]) -> Iterator[Found]:
    """The timeout is longer than the run may take.

    What it does:
        Warns where the upper end of the estimated time is above the timeout, padding included, or above what `max_usd`
        and `max_hours` leave of it.

    Why:
        The job might be ended before its end, and what was not saved be lost. A run is billed by the minute: it costs
        no more with a longer timeout.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-8B", dataset="HuggingFaceH4/ultrachat_200k", timeout="30m")
        ```

    Use instead:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-8B", dataset="HuggingFaceH4/ultrachat_200k")
        ```
    """
    spec, duration, limit = context.spec, context.duration, context.timeout_seconds
    if duration is None or limit is None or duration.seconds.high <= limit:
        return
    path = binding_limit(spec, limit)
    if path == "timeout":
        longer = format_duration(-int(-duration.seconds.high // 60) * 60)
        ends, fix = "the job is ended", f'timeout="{longer}"'
    elif exceeded_caps(spec.hardware, duration):
        # other rules tell of a cap that even the expected run exceeds
        return
    else:
        cap = path.removeprefix("hardware.")
        value = _cap(spec, cap)
        wanted = exceeded_caps(spec.hardware, duration, "high") or {cap: value}
        ends = f"{cap}={value:g} ends the job"
        # with more to spend, another machine might be taken, and that might not be enough for it
        same = {"hardware.flavor": context.machine.name} if cap == "max_usd" else {}
        fix = change(spec, same | _raised(spec, wanted, context.machine.usd_per_hour))
    perhaps = "" if duration.seconds.expected > limit else ", so it may not finish"
    why = f"the run is expected to take {duration.seconds.as_duration()}, and {ends} after {format_duration(limit)}"
    yield Found(path, why + perhaps, fix)


@rule("COST004", stage="run", severity="warning", traits=["answers"])
def answers_are_written_fast(context: Context[TrainSpec]) -> Iterator[Found]:
    """Answers are written by vLLM where they take most of the time.

    What it does:
        Warns where writing answers with transformers is expected to take more than half of a run of over two hours.
        Above 24 hours of writing that is an error, COST006, but for a spec that says `use_vllm=False` and for methods
        that have no vLLM, of which it warns here. The fix is one with which the planner finds that the run fits.

    Why:
        transformers writes them a token at a time with a hundred kernel launches each, which leaves the GPU idle; vLLM
        is many times faster and shares the GPU with training.

    Example:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=..., reward_funcs="accuracy_reward", hardware="h200")
        ```

    Use instead:
        ```python
        hft.GRPO(
            model="Qwen/Qwen2.5-0.5B-Instruct",
            dataset=...,
            reward_funcs="accuracy_reward",
            hardware="h200",
            use_vllm=True,
        )
        ```
    """
    spec, duration = context.spec, context.duration
    if duration is None or context.run.vllm is not None:
        return
    if _days_without_vllm(context):
        return  # COST006 tells
    days = hours_of_writing(duration) > ENDLESS_HOURS
    if days or ("use_vllm" in type(spec).model_fields and writes_for_long(duration)):
        yield _slow_answers(context, duration)


@rule("COST006", stage="run", scope="remote", fields=["use_vllm"])
def days_of_answers_need_vllm(context: Context[TrainSpec]) -> Iterator[Found]:
    """A run does not write answers for days without vLLM.

    What it does:
        Refuses a run that is expected to write answers with transformers for more than 24 hours, with the hours and
        dollars of the run with and without vLLM. With `use_vllm=False` it is a warning, COST004.

    Why:
        With vLLM the same run takes hours: nobody would pay for days of an idle GPU if asked.

    Example:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-7B-Instruct", dataset=..., reward_funcs="accuracy_reward", lora=hft.LoRA())
        ```

    Use instead:
        ```python
        hft.GRPO(
            model="Qwen/Qwen2.5-7B-Instruct",
            dataset=...,
            reward_funcs="accuracy_reward",
            lora=hft.LoRA(),
            use_vllm=True,
        )
        ```
    """
    if context.choice is None or not _may_need_vllm(context):
        return
    if context.flavor is not None:
        need(context.duration, " and ".join(context.run.unknown_amounts) or "the speed of the machine")
    if context.duration is not None and _days_without_vllm(context):
        yield _slow_answers(context, context.duration)


def _may_need_vllm(context: Context[TrainSpec]) -> bool:
    """Whether vLLM could write the answers of the run, and nobody said that it should not."""
    spec = context.spec
    has_vllm = "use_vllm" in type(spec).model_fields
    return has_vllm and context.run.vllm is None and not spec.is_set("use_vllm") and not spec.use_cpu


def _days_without_vllm(context: Context[TrainSpec]) -> bool:
    """Whether the run writes answers for days, and vLLM could."""
    return _may_need_vllm(context) and hours_of_writing(context.duration) > ENDLESS_HOURS


def _slow_answers(context: Context[TrainSpec], duration: DurationEstimate) -> Found:
    """What writing answers with transformers takes of a run, and what the run takes with vLLM."""
    share = duration.parts["generation"].expected / duration.seconds.expected
    over = context.choice.cheapest if context.choice is not None else None
    takes = f"{share:.0%} of {_time_and_cost(duration)} on {(over or context.estimate).machine.name}"
    why, found = f"generation with transformers is expected to take {takes}", context.with_vllm
    if found is None or found.duration is None:
        return Found("use_vllm" if "use_vllm" in type(context.spec).model_fields else "", why)
    instead = f"with vLLM the run takes {_time_and_cost(found.duration)} on {found.machine.name}"
    return Found("use_vllm", f"{why}; {instead}", found.fix)


def _time_and_cost(duration: DurationEstimate) -> str:
    return f"{format_seconds(duration.seconds.expected)} (${duration.usd.expected:,.2f})"


@rule("COST005", stage="run", scope="remote", scripts=True, severity="warning")
def caps_leave_the_timeout(context: Context[JobSpec]) -> Iterator[Found]:
    """A cap leaves the run the time that was given to it.

    What it does:
        Where the run's time cannot be estimated, warns of a `timeout` that is longer than `max_hours`, or that costs
        more than `max_usd` on the machine. Padding does not count: a cap may take that away. Where there is an
        estimate, that is what a cap is held against.

    Why:
        The cap wins: a run that needs the time that you gave it is ended before its end, and the money is lost.

    Example:
        ```python
        hft.Script("train.py", timeout="3h", hardware=hft.Hardware(flavor="a10g-large", max_usd=1.5))
        ```

    Use instead:
        ```python
        hft.Script("train.py", timeout="3h", hardware=hft.Hardware(flavor="a10g-large", max_usd=4.5))
        ```
    """
    spec, flavor = context.spec, context.flavor
    if spec.timeout is None or context.duration is not None:
        return
    price, attempts = hourly_usd(flavor, spec.hardware) if flavor else None, spec.hardware.attempts
    given = f"{format_duration(spec.timeout)}{_attempts(spec)}"
    enough, whys = dict[str, float](), dict[str, str]()
    for cap, seconds, _ in caps(spec, price):
        if seconds >= spec.timeout:
            continue
        if cap == "max_hours" or price is None:
            needed, costs = spec.timeout / 3600 * attempts, ""
        else:
            # billed by the started minute
            needed = -(-spec.timeout // 60) * price / 60 * attempts
            costs = f" at ${price:.2f}/h is ${needed:.2f}"
        left, path = format_duration(seconds), f"hardware.{cap}"
        enough[path] = -int(-round(needed * 100, 6) // 1) / 100
        whys[path] = f"{given}{costs}, above {cap}={_cap(spec, cap):g}, which ends the job after {left}"
    for path, why in whys.items():
        yield Found(path, why, change(spec, enough))
    if price is None and spec.hardware.max_usd is not None:
        need(flavor, "the price of the machine", "hardware.flavor")
