"""Flavors chosen for well-known models, with hours, dollars and alternatives: python -m benchmarks.picks [PREFER]."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hfjobs_trainer as hft
from benchmarks.measurements import ARCHITECTURES
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.facts.dataset import SHARES, LengthFacts

# A dataset made up for the comparison: chats of 1,000 tokens on average, evenly spread from none to twice that.
ROWS, MEAN = 20_000, 1000.0
RUNS = 20
UNFIT = ("HW003", "COST006")
"""The rules that refuse what was chosen, or tell that nothing could be."""

_BASE: dict[str, Any] = {"model": "org/model", "dataset": "org/data", "num_train_epochs": 1}
# Reward functions count for nothing here: what they take is the user's own.
SPECS: dict[str, tuple[str, Callable[[], Any]]] = {
    "Qwen2.5-0.5B SFT full": ("qwen2-0.5b", lambda: hft.SFT(**_BASE)),
    "Llama-3.1-8B SFT LoRA 4k": ("llama-3.1-8b", lambda: hft.SFT(**_BASE, lora=hft.LoRA(), max_length=4096)),
    "Llama-3.1-8B DPO full": ("llama-3.1-8b", lambda: hft.DPO(**_BASE)),
    "Qwen3-32B SFT QLoRA": ("qwen3-32b", lambda: hft.SFT(**_BASE, lora=hft.LoRA(), quantization="4bit")),
    "Llama-3.1-70B SFT QLoRA": ("llama-3.1-70b", lambda: hft.SFT(**_BASE, lora=hft.LoRA(), quantization="4bit")),
    "Qwen2.5-7B GRPO LoRA": (
        "qwen2-7b",
        lambda: hft.GRPO(**_BASE, lora=hft.LoRA(), reward_funcs="accuracy_reward"),
    ),
}


def facts_of(architecture: str) -> Facts:
    """What would be known of a model with these numbers and of the dataset that was made up."""
    models: dict[str, dict[str, Any]] = json.loads(ARCHITECTURES.read_text(encoding="utf-8"))
    lengths = LengthFacts("tokens", 512, MEAN, tuple(2 * MEAN * share for share in SHARES), prompt_mean=MEAN / 4)
    data = DatasetFacts(exists=True, num_rows=ROWS, lengths=lengths)
    return Facts(model=ModelFacts(exists=True, **models[architecture]), dataset=data)


def main() -> None:
    """Print the picks; the argument is ``prefer`` of ``hft.Hardware``, default ``balanced``."""
    prefer = sys.argv[1] if len(sys.argv) > 1 else "balanced"
    print(f"one epoch of {ROWS:,} rows of {MEAN:g} tokens on average; prompts of {MEAN / 4:g}; prices of the snapshot")
    for name, (architecture, make) in SPECS.items():
        facts, spec = facts_of(architecture), make().replace(hardware={"prefer": prefer})
        choice = hft.pick_flavor(spec, facts=facts)
        seconds: list[float] = []
        for _ in range(RUNS):
            start = time.perf_counter()
            hft.pick_flavor(anew(spec), facts=replace(facts))
            seconds.append(time.perf_counter() - start)
        print(f"\n{name}: {choice.flavor.name if choice.flavor else 'no flavor'}")
        if choice.flavor is not None and choice.estimate is not None:
            estimate, usable = choice.estimate, choice.flavor.usable_gpu_memory_gib or 0.0
            print(f"  {estimate.layout}")
            if estimate.duration is not None:
                print(f"  {estimate.duration.seconds.as_duration()}; {estimate.duration.usd.as_usd()}")
            if estimate.memory is not None:
                print(f"  {estimate.memory.total_gib:.1f} of {usable:.1f} GiB, margin {estimate.memory.margin_gib:.1f}")
            for alternative in choice.alternatives:
                print(f"  or {alternative}")
        for problem in hft.check(spec, facts=facts).problems:
            if problem.code in UNFIT:
                print(f"  {problem.code} {problem.why}; fix: {problem.fix}")
        print(f"  chosen in {statistics.median(seconds) * 1000:.0f} ms (median of {RUNS})")


def anew(spec: Any) -> Any:
    """The same spec as a new object, so that nothing remembered of the old one helps."""
    return spec.replace()


if __name__ == "__main__":
    main()
