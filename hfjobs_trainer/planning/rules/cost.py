"""Rules about what a run may cost and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.choose import exceeded_caps, find_alternative
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.estimate import Estimate
from hfjobs_trainer.planning.hardware.machine import hourly_usd
from hfjobs_trainer.planning.rules.job import MIN_SECONDS
from hfjobs_trainer.planning.timeout import binding_limit, caps
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.durations import format_duration

# From what share of a run's time, and of how long a run, writing answers is worth a word: seconds.
GENERATION_SHARE, LONG_SECONDS = 0.5, 7200


def _wanted(context: Context[TrainSpec], cap: float | None) -> Estimate | None:
    """What the cap is held against: the machine that was named, else the cheapest that would do; ``None``: no cap."""
    if cap is None or context.choice is None:
        return None
    choice = context.choice
    if choice.flavor is None:
        return choice.cheapest
    missing = " and ".join(context.run.unknown_amounts)
    need(choice.duration, missing or "the speed of the machine")
    return choice.estimate


def _cheaper(context: Context[TrainSpec], cap: float) -> str:
    """The cheapest machine that would do, with the caps as they are, or raised where it exceeds them."""
    spec = context.spec
    found = find_alternative(context.run, context.hardware)
    if found is None or found.duration is None:
        return f"max_usd above {cap:g}"
    raised = {name: _above(need) for name, need in exceeded_caps(spec.hardware, found.duration).items()}
    given = {"flavor": found.machine.name} | spec.hardware.model_dump(exclude_unset=True, exclude={"flavor"})
    told = {name: f'"{value}"' if isinstance(value, str) else repr(value) for name, value in given.items()}
    hardware = ", ".join(f"{name}={text}" for name, text in (told | raised).items())
    takes = f"about ${found.duration.usd.expected:.2f}, {found.duration.seconds.as_duration()}"
    return f"hardware=hft.Hardware({hardware}) ({takes}){', or fewer steps' if raised else ''}"


def _cap(spec: JobSpec, name: str) -> float:
    """The cap of this name; 0 where there is none."""
    return {"max_usd": spec.hardware.max_usd, "max_hours": spec.hardware.max_hours}[name] or 0.0


def _attempts(spec: JobSpec) -> str:
    """What to add to the time of one attempt, if there may be several."""
    return f", {spec.hardware.attempts} times" if spec.hardware.attempts > 1 else ""


def _above(usd: float) -> str:
    return f"{-int(-usd * 1.05 // 1)}" if usd >= 10 else f"{usd * 1.05 + 0.005:.2f}"


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
    yield Found("hardware.max_usd", why, _cheaper(context, cap))


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
    other = 'flavor="auto", or ' if found is not None and found.reason is None else ""
    yield Found("hardware.max_hours", why, f"{other}max_hours={_above(hours)}")


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
        ends, fix = "the job is ended", f'timeout="{longer}" or more, or remove it'
    elif exceeded_caps(spec.hardware, duration):
        # other rules tell of a cap that even the expected run exceeds
        return
    else:
        cap = path.removeprefix("hardware.")
        value = _cap(spec, cap)
        wanted = exceeded_caps(spec.hardware, duration, "high") or {cap: value}
        ends = f"{cap}={value:g} ends the job"
        fix = ", ".join(f"{name}={_above(need)}" for name, need in wanted.items()) + ", or fewer steps"
    perhaps = "" if duration.seconds.expected > limit else ", so it may not finish"
    why = f"the run is expected to take {duration.seconds.as_duration()}, and {ends} after {format_duration(limit)}"
    yield Found(path, why + perhaps, fix)


@rule("COST004", stage="run", severity="warning", fields=["reward_funcs", "use_vllm"])
def answers_are_written_fast(context: Context[TrainSpec]) -> Iterator[Found]:
    """Answers are written by vLLM where they take most of the time.

    What it does:
        Warns where writing answers with transformers is expected to take more than half of a run of over two hours.

    Why:
        transformers writes them a token at a time with a hundred kernel launches each, which leaves the GPU idle; vLLM
        is many times faster and shares the GPU with training.

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
    duration = context.duration
    if duration is None or context.run.vllm is not None or "generation" not in duration.parts:
        return
    share = duration.parts["generation"].expected / duration.seconds.expected
    if share > GENERATION_SHARE and duration.seconds.expected > LONG_SECONDS:
        why = f"generation with transformers is expected to take {share:.0%} of {duration.seconds.as_duration()}"
        yield Found("use_vllm", why, "use_vllm=True")


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
    for cap, seconds, _ in caps(spec, price):
        if seconds >= spec.timeout:
            continue
        if cap == "max_hours" or price is None:
            needed, costs = spec.timeout / 3600 * attempts, ""
        else:
            # billed by the started minute
            needed = -(-spec.timeout // 60) * price / 60 * attempts
            costs = f" at ${price:.2f}/h is ${needed:.2f}"
        left, enough = format_duration(seconds), -int(-round(needed * 100, 6) // 1) / 100
        why = f"{given}{costs}, above {cap}={_cap(spec, cap):g}, which ends the job after {left}"
        shorter = f'timeout="{left}" at most, or ' if seconds >= MIN_SECONDS else ""
        yield Found(f"hardware.{cap}", why, f"{shorter}{cap}={enough:.10g}")
    if price is None and spec.hardware.max_usd is not None:
        need(flavor, "the price of the machine")
