"""What tells two runs of one spec apart: what the spec was resolved to when they were planned."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.planning.request import LABEL_DIGITS
from hfjobs_trainer.specs.script_header import read_header


def inputs_of(plan: Plan, local: object = None) -> str:
    """A digest of pins, revisions, script and local data, as the value of a job's label.

    All else that a run depends on is in the spec, which has a label of its own: arguments, functions, environment,
    names of secrets, hardware. What is chosen anew for each plan is in neither, such as the flavor of ``"auto"``.

    Args:
        plan: The plan.
        local: The state of what the run reads on this machine, if its content is not known.
    """
    try:
        header = read_header(plan.script)
        pins: Any = [header.requires_python, sorted(header.dependencies), header.uv]
    except ValueError:  # of a script of the user's own
        pins = plan.script
    data = sorted(item.content.digest for item in plan.request.data)
    parts = [pins, plan.request.image, dict(plan.revisions), data, local]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:LABEL_DIGITS]
