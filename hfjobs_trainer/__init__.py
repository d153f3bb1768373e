"""Fine-tune language models on Hugging Face Jobs: write a spec, plan it, submit it.

Every name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfjobs_trainer.client import (
        Client,
        check,
        gather,
        hardware_table,
        jobs,
        pick_flavor,
        plan,
        render,
        submit,
    )
    from hfjobs_trainer.errors import (
        AuthError,
        BackendError,
        HFTError,
        HubUnavailable,
        JobFailed,
        JobNotFound,
        QuotaError,
        RenderError,
        SpecError,
    )
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.problems import Problem
    from hfjobs_trainer.running.backends.hub import HubBackend
    from hfjobs_trainer.running.backends.inprocess import InProcessBackend
    from hfjobs_trainer.running.backends.local import LocalBackend
    from hfjobs_trainer.running.job import Job
    from hfjobs_trainer.specs.groups import Dataset, Hardware, LoRA, Output, Tracking
    from hfjobs_trainer.specs.load import load
    from hfjobs_trainer.specs.methods.dpo import DPO
    from hfjobs_trainer.specs.methods.grpo import GRPO
    from hfjobs_trainer.specs.methods.sft import SFT
    from hfjobs_trainer.specs.registry import METHODS
    from hfjobs_trainer.submitters import submit_dpo, submit_grpo, submit_sft

__version__ = "0.1.0"

# public name -> module that has it
_EXPORTS: dict[str, str] = {
    **dict.fromkeys(
        ("Client", "check", "gather", "hardware_table", "jobs", "pick_flavor", "plan", "render", "submit"), "client"
    ),
    **dict.fromkeys(
        (
            "AuthError",
            "BackendError",
            "HFTError",
            "HubUnavailable",
            "JobFailed",
            "JobNotFound",
            "QuotaError",
            "RenderError",
            "SpecError",
        ),
        "errors",
    ),
    "Facts": "facts",
    "Plan": "planning.plan",
    "Problem": "problems",
    "HubBackend": "running.backends.hub",
    "InProcessBackend": "running.backends.inprocess",
    "LocalBackend": "running.backends.local",
    "Job": "running.job",
    **dict.fromkeys(("Dataset", "Hardware", "LoRA", "Output", "Tracking"), "specs.groups"),
    "load": "specs.load",
    "DPO": "specs.methods.dpo",
    "GRPO": "specs.methods.grpo",
    "SFT": "specs.methods.sft",
    "METHODS": "specs.registry",
    **dict.fromkeys(("submit_dpo", "submit_grpo", "submit_sft"), "submitters"),
}

__all__ = [
    "DPO",
    "GRPO",
    "METHODS",
    "SFT",
    "AuthError",
    "BackendError",
    "Client",
    "Dataset",
    "Facts",
    "HFTError",
    "Hardware",
    "HubBackend",
    "HubUnavailable",
    "InProcessBackend",
    "Job",
    "JobFailed",
    "JobNotFound",
    "LoRA",
    "LocalBackend",
    "Output",
    "Plan",
    "Problem",
    "QuotaError",
    "RenderError",
    "SpecError",
    "Tracking",
    "__version__",
    "check",
    "gather",
    "hardware_table",
    "jobs",
    "load",
    "pick_flavor",
    "plan",
    "render",
    "submit",
    "submit_dpo",
    "submit_grpo",
    "submit_sft",
]


def __getattr__(name: str) -> Any:
    try:
        module = _EXPORTS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
