"""Rules about what a run can go on from when it is stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change

if TYPE_CHECKING:
    from hfjobs_trainer.planning.duration.estimate import DurationEstimate
    from hfjobs_trainer.specs.methods.grpo import GRPO
    from hfjobs_trainer.specs.methods.rloo import RLOO


@rule("RESUME001")
def checkpoints_on_the_hub_need_a_repository(context: Context[TrainSpec]) -> Iterator[Found]:
    """Checkpoints on the Hub need a repository.

    What it does:
        On the local backend, refuses `checkpoints="hub"`, and `hub_strategy="checkpoint"`, which is the same, where the
        model is not pushed. On Hugging Face Jobs, that the model is not pushed is refused anyway (HUB005).

    Why:
        They are kept in the model's repository, and there is none.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., output=hft.Output(checkpoints="hub"), backend="local")
        ```

    Use instead:
        ```python
        hft.submit_sft(model=..., dataset=..., backend="local")  # on this machine they stay on its disk
        ```
    """
    output = context.spec.output
    if output.checkpoints == "hub" and not output.pushes and not context.backend.rents:
        why = "they are kept in the model's repository, and the model is not pushed"
        yield Found("output.checkpoints", why, change(context.spec, {"output.checkpoints": REMOVE}))


@rule("RESUME002", scope="remote")
def attempts_need_checkpoints(context: Context[TrainSpec]) -> Iterator[Found]:
    """A further attempt needs something to go on from.

    What it does:
        Refuses `attempts` above 1 with `checkpoints=None`.

    Why:
        The one pays for going on after a failure, the other says that there shall be nothing to go on from: each
        attempt would begin anew, and may fail like the one before.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., hardware=hft.Hardware(attempts=3), output=hft.Output(checkpoints=None))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., hardware=hft.Hardware(attempts=3))
        ```
    """
    spec = context.spec
    if spec.hardware.attempts > 1 and spec.output.checkpoints is None and type(spec).TRAINING.resumes:
        why = f"without checkpoints, each of {spec.hardware.attempts} attempts would begin anew"
        yield Found("output.checkpoints", why, change(spec, {"output.checkpoints": REMOVE}))


@rule("RESUME003", severity="warning")
def checkpoints_hold_all_that_a_run_needs(context: Context[TrainSpec]) -> Iterator[Found]:
    """A checkpoint that a run is to go on from has all that it needs.

    What it does:
        Where `checkpoints` is `"bucket"` or `"hub"`, or there are several `attempts`, warns of `save_only_model`, of
        `ignore_data_skip` and of `save_strategy="no"`.

    Why:
        Without the optimizer's states a run cannot go on as if it had not been stopped; with `ignore_data_skip` it
        begins with the first rows again; and without any checkpoint it begins anew, unless it was stopped by its
        deadline, before which it saves one.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., save_only_model=True, output=hft.Output(checkpoints="bucket"))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., output=hft.Output(checkpoints="bucket"))
        ```
    """
    spec = context.spec
    if not wants_to_go_on(context):
        return
    if spec.save_only_model:
        why = "checkpoints without the optimizer's states are none that the run could go on from"
        yield Found("save_only_model", why, "save_only_model=False")
    if spec.ignore_data_skip:
        why = "a run that goes on would see the first rows again, and never the last"
        yield Found("ignore_data_skip", why, "ignore_data_skip=False")
    if spec.save_strategy == "no":
        why = "no checkpoint is written while it trains, so after a failure the run begins anew"
        duration = context.duration
        often = f", save_steps={hourly(duration)}" if duration is not None and duration.steps else ""
        yield Found("save_strategy", why, f'save_strategy="steps"{often}')


def wants_to_go_on(context: Context[TrainSpec]) -> bool:
    """Whether the spec says that the run shall go on from checkpoints after a failure, and its trainer can."""
    spec, place = context.spec, context.spec.output.checkpoints
    several = context.backend.rents and spec.hardware.attempts > 1 and place is not None
    return (several or place in ("bucket", "hub")) and type(spec).TRAINING.resumes


def hourly(duration: DurationEstimate) -> int:
    """Optimizer steps between two saves that are about an hour apart."""
    return max(1, int(duration.steps / (duration.seconds.expected / 3600)))


@rule("RESUME004", scope="remote", severity="warning")
def some_trainers_cannot_go_on(context: Context[TrainSpec]) -> Iterator[Found]:
    """The trainer can go on from a checkpoint.

    What it does:
        Warns of `attempts` above 1, and of `checkpoints`, where the method's trainer always begins anew: that of PPO.

    Why:
        It has a loop of its own, which neither reads a checkpoint nor leaves out the rows that were used. Each attempt
        begins with the first step, and is paid for.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., hardware=hft.Hardware(flavor="a100-large", attempts=2))
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., hardware="a100-large")
        ```
    """
    spec = context.spec
    if type(spec).TRAINING.resumes:
        return
    cannot = f"the trainer of {type(spec).METHOD.label} cannot go on from a checkpoint"
    if spec.hardware.attempts > 1:
        why = f"{cannot}: each of {spec.hardware.attempts} attempts begins anew"
        yield Found("hardware.attempts", why, change(spec, {"hardware.attempts": REMOVE}))
    if spec.output.checkpoints in ("bucket", "hub"):
        yield Found("output.checkpoints", cannot, change(spec, {"output.checkpoints": REMOVE}))


@rule("RESUME005", stage="run", severity="warning", traits=["answers"])
def checkpoints_leave_no_answers_waiting(context: Context[TrainSpec]) -> Iterator[Found]:
    """No completion waits to be used where a checkpoint is written.

    What it does:
        Warns of `save_steps` at which completions that were generated for several steps are used in part:
        `save_steps * gradient_accumulation_steps` must be a multiple of `steps_per_generation * num_iterations`. With
        `load_best_model_at_end` the fix is a multiple of `eval_steps` too.

    Why:
        They are in no checkpoint. A run that goes on from such a one would generate others, and train something else;
        so it goes on only from those checkpoints at which none wait, and the work since then is lost.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., num_iterations=4, save_steps=50)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., num_iterations=4, save_steps=52)
        ```
    """
    spec, every = context.spec, context.kept.resume_every
    steps = context.argument("save_steps", spec.save_steps)
    if 0 < steps < 1 and context.run.max_steps:  # a share of the run
        steps = math.ceil(steps * context.run.max_steps)
    if context.kept.place is None or spec.save_strategy != "steps" or steps < 1 or not steps % every:
        return
    multiple, evaluated = every, spec.eval_steps or spec.logging_steps
    if spec.load_best_model_at_end and evaluated >= 1:
        multiple = math.lcm(every, int(evaluated))
    aligned = math.lcm(every, int(steps))
    why = f"at step {steps} completions wait to be used: the run goes on only from a checkpoint every {aligned:,} steps"
    yield Found("save_steps", why, f"save_steps={-(-int(steps) // multiple) * multiple}")


@rule("RESUME006", stage="run", severity="warning", fields=["steps_per_generation", "num_iterations"])
def epochs_end_with_no_answers_waiting(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """No completion waits to be used where an epoch ends.

    What it does:
        Warns of a run of several epochs in which `steps_per_generation * num_iterations` is neither a multiple nor a
        divisor of `gradient_accumulation_steps`.

    Why:
        The last step of an epoch is then a short one, and from there on completions wait at other steps than before: a
        run that goes on from a checkpoint of a later epoch does not train what it would have trained.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., steps_per_generation=6, gradient_accumulation_steps=4)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., steps_per_generation=12, gradient_accumulation_steps=4)
        ```
    """
    spec = context.spec
    if spec.steps_per_generation is None or context.kept.place is None or context.run.epochs <= 1:
        return
    steps = context.argument("gradient_accumulation_steps", spec.gradient_accumulation_steps)
    waiting = spec.steps_per_generation * spec.num_iterations
    if max(waiting, steps) % min(waiting, steps):
        why = f"{waiting} batches are used of each generation, and {steps} in a step: resumed, later epochs differ"
        together = math.lcm(spec.steps_per_generation, steps)
        yield Found("steps_per_generation", why, f"steps_per_generation={together}")


@rule("RESUME007", severity="warning")
def the_script_saves_when_it_is_stopped(context: Context[TrainSpec]) -> Iterator[Found]:
    """The script itself saves when it is stopped.

    What it does:
        Warns of `enable_jit_checkpoint`.

    Why:
        It has no effect: at SIGTERM the script saves after the step, on all processes at the same one, where that of
        transformers may save amid a step.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., enable_jit_checkpoint=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=...)
        ```
    """
    if context.spec.enable_jit_checkpoint:
        why = "has no effect, since the script saves at SIGTERM by itself"
        yield Found("enable_jit_checkpoint", why, "enable_jit_checkpoint=False")


@rule("RESUME008", scope="remote")
def checkpoints_on_the_hub_are_of_one_machine(context: Context[TrainSpec]) -> Iterator[Found]:
    """Checkpoints on the Hub are those of one machine.

    What it does:
        Refuses `checkpoints="hub"` where several nodes train.

    Why:
        Each machine saves files of its own, such as the state of its random numbers; only the first one's would get
        into the repository, and the run could not go on from them.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., hardware=hft.Hardware(flavor="a100x8", nodes=2),
                output=hft.Output(hub_model_id="me/model", checkpoints="hub"))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., hardware=hft.Hardware(flavor="a100x8", nodes=2),
                output=hft.Output(hub_model_id="me/model", checkpoints="bucket"))
        ```
    """
    spec = context.spec
    if spec.output.checkpoints == "hub" and context.run.nodes > 1:
        why = f"{context.run.nodes} nodes train, and only the files of the first would be kept"
        yield Found("output.checkpoints", why, change(spec, {"output.checkpoints": "bucket"}))
