"""What a job on the Hub uses of its machine, as the Hub measures it each second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.running.backends.base import Gpu, Usage

if TYPE_CHECKING:
    from huggingface_hub import HfApi

GIB = 2.0**30


def usage_reader(namespace: str, name: str) -> Callable[[HfApi], Usage | None]:
    """A request for the next sample; ``None`` where there is none within 10 seconds, as of a job that does not run.

    The stream has neither history nor end, so it is left after each sample.
    """

    def read(api: HfApi) -> Usage | None:
        samples = api.fetch_job_metrics(job_id=name, namespace=namespace)
        return next((_usage(sample) for sample in samples), None)

    return read


def _usage(sample: Mapping[str, Any]) -> Usage:
    gpus: Mapping[str, Mapping[str, float]] = sample.get("gpus") or {}
    return Usage(
        tuple(
            Gpu(gpu["utilization"], gpu["memory_used_bytes"] / GIB, gpu["memory_total_bytes"] / GIB)
            for _, gpu in sorted(gpus.items())
        ),
        sample.get("cpu_usage_pct"),
        _gib(sample.get("memory_used_bytes")),
        _gib(sample.get("memory_total_bytes")),
    )


def _gib(size: float | None) -> float | None:
    return None if size is None else size / GIB
