"""The commands by name, with the words that ``hft --help`` shows: a command's own module is loaded when it is run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A command.

    Attributes:
        section: Under which title ``hft --help`` lists it.
        module: Module of this package that has it.
        words: What it does, in a line.
    """

    section: str
    module: str
    words: str


_BEFORE, _RUNS, _KNOW = "Before a run", "Runs", "To look up"

COMMANDS: dict[str, Entry] = {
    "init": Entry(_BEFORE, "starting", "Write a commented spec file for a training method."),
    "check": Entry(_BEFORE, "specs", "Report everything that is wrong with a spec."),
    "plan": Entry(_BEFORE, "specs", "Show what would run, where, for how long and for how much."),
    "render": Entry(_BEFORE, "specs", "Write the training script."),
    "recommend": Entry(_BEFORE, "specs", "Show starting values from published recipes."),
    "estimate": Entry(_BEFORE, "specs", "Estimate memory, time and dollars, also on a GPU of your own."),
    "preview": Entry(_BEFORE, "trials", "Show rows as the model will see them."),
    "smoke-test": Entry(_BEFORE, "trials", "Run the script for two steps on tiny models and real rows."),
    "submit": Entry(_RUNS, "submitting", "Submit a run; on Hugging Face Jobs this costs money."),
    "jobs": Entry(_RUNS, "runs", "List runs."),
    "watch": Entry(_RUNS, "runs", "Show a run's progress until it has ended."),
    "logs": Entry(_RUNS, "runs", "Print a run's log."),
    "wait": Entry(_RUNS, "runs", "Wait until a run has ended."),
    "result": Entry(_RUNS, "runs", "Show model, metrics and files of a run that ended well."),
    "diagnose": Entry(_RUNS, "runs", "Say why a run failed, and what to type instead."),
    "resume": Entry(_RUNS, "runs", "Go on with a run from its last checkpoint; on Jobs this costs money."),
    "cancel": Entry(_RUNS, "runs", "Stop a run."),
    "hardware": Entry(_KNOW, "lookup", "List the flavors, or compare them for a spec."),
    "rules": Entry(_KNOW, "lookup", "List the rules that specs are checked by."),
    "explain": Entry(_KNOW, "lookup", "Explain a problem's code."),
}
