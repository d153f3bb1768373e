"""Answers requests on stdin, one JSON object per line, with one JSON object per line on stdout.

Run with ``python -m hfjobs_trainer.simulating``. A reply has ``peaks`` and the rest of what ``measure.simulate``
returns, or ``unsupported`` with the reason why there is no result. Requests are answered in order.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer requests until stdin ends."""
    # the libraries make many objects that stay: searching them for garbage takes a third of the import's time
    gc.disable()
    # what the libraries print must not mix with the replies
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    missing = _missing()
    gc.freeze()
    for line in sys.stdin:
        answers.write(json.dumps({"missing": missing} if missing else answer(line)) + "\n")
        answers.flush()
        gc.collect()


def answer(line: str) -> dict[str, Any]:
    """The reply to one request."""
    from hfjobs_trainer.simulating.measure import simulate
    from hfjobs_trainer.simulating.model import UnsupportedError
    from hfjobs_trainer.simulating.request import BadRequestError, parse_request

    try:
        return simulate(parse_request(json.loads(line)))
    except (BadRequestError, UnsupportedError, ValueError, RecursionError) as error:
        return {"unsupported": str(error)[:500]}


def _missing() -> str | None:
    """The first library that cannot be imported."""
    for name in ("torch", "transformers", "accelerate", "peft", "trl"):
        try:
            __import__(name)
        except ImportError as error:
            return f"{name}: {error}"
    return None


if __name__ == "__main__":
    main()
