"""Peak memory and speed of six small runs on this machine, as rows of measurements.

``python -m benchmarks.measure OUT.csv`` trains SFT of all weights, LoRA, QLoRA, with packing, DPO and GRPO with LoRA:
scripts of this package, some steps each, on a model of a real size with random weights and rows cut to one length. The
rows have the columns of the measurements that ``benchmarks.memory`` and ``benchmarks.duration`` score. Without a GPU,
``--size tiny`` shows that it runs; memory is then the resident set's, which nothing scores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hfjobs_trainer as hft
from benchmarks.measurements import ARCHITECTURES, COLUMNS
from hfjobs_trainer.planning.memory.estimate import GIB

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

# The architecture of each size, and the memory of a GPU from which it is the default, GiB.
SIZES: Mapping[str, tuple[str, float]] = {
    "tiny": ("", 0.0),
    "0.5b": ("qwen2-0.5b", 8.0),
    "3b": ("qwen2.5-3b", 40.0),
}
TINY = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "tie_word_embeddings": True,
}
LENGTH, TINY_LENGTH = 1024, 64
# Of a run, and of those the first, which load kernels and are not timed.
STEPS, WARM_UP = 12, 4
OUT_OF_MEMORY = ("OutOfMemoryError", "CUDA out of memory")

# Python runs a module of this name at its start: the script itself is left as it is.
SITE = """\
import atexit, json, os, sys

def write():
    torch = sys.modules.get("torch")
    if torch is None or os.environ.get("RANK", "0") != "0":
        return
    if torch.cuda.is_available():
        found = {"peak": torch.cuda.max_memory_allocated(), "metric": "max_memory_allocated"}
    else:
        import resource
        found = {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "metric": "max_rss"}
    with open(os.environ["HFT_MEASURE"], "w") as file:
        json.dump(found, file)

atexit.register(write)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One run to measure: its method and what its spec sets beside what all do."""

    name: str
    method: Literal["sft", "dpo", "grpo"]
    tuning: Literal["full", "lora", "qlora"]
    fields: Mapping[str, Any]

    @property
    def trains_adapter(self) -> bool:
        """Whether it trains a LoRA adapter."""
        return self.tuning != "full"


CASES = (
    Case("sft-full", "sft", "full", {}),
    Case("sft-lora", "sft", "lora", {}),
    Case("sft-qlora", "sft", "qlora", {"quantization": "4bit"}),
    Case("sft-packing", "sft", "lora", {"packing": True}),
    Case("dpo-lora", "dpo", "lora", {}),
    Case("grpo-lora", "grpo", "lora", {"num_generations": 4, "beta": 0.0}),
)


def make_model(folder: Path, size: str) -> str:
    """Write a model of this size with random weights and a small tokenizer; return the name of its architecture."""
    import torch
    import transformers

    from examples import tiny

    tiny.make_model(folder)  # for its tokenizer
    name, _ = SIZES[size]
    facts: dict[str, Any] = json.loads(ARCHITECTURES.read_text(encoding="utf-8"))[name] if name else dict(TINY)
    kept = {key: value for key, value in facts.items() if key not in ("num_parameters", "model_type")}
    hf: Any = transformers
    ends = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": 4 * LENGTH}
    config = hf.AutoConfig.for_model(facts["model_type"], **kept, **ends)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return name or "tiny"


def write_rows(folder: Path, case: Case, length: int, count: int) -> Path:
    """Rows of which each is cut to ``length`` tokens; packed ones are a quarter as long, prompts alone are short."""
    words = "the rose is red and the sea is blue and the grass is green and the sun is yellow and the night is black "
    long, quarter = words * (length // 8), words * max(1, length // 64)
    rows: dict[str, dict[str, str]] = {
        "sft": {"text": quarter if case.fields.get("packing") else long},
        "dpo": {"prompt": words, "chosen": long, "rejected": f"no {long}"},
        "grpo": {"prompt": words},
    }
    path = folder / f"{case.name}.jsonl"
    path.write_text("".join(json.dumps(rows[case.method]) + "\n" for _ in range(count)), encoding="utf-8")
    return path


def long_answers(completions: list[str], **columns: object) -> list[float]:
    """A reward for the measurement, of each completion's length."""
    return [float(len(completion)) for completion in completions]


def spec_of(case: Case, model: Path, data: Path, length: int, batch: int) -> TrainSpec:
    """The run as a spec."""
    fields: dict[str, Any] = {
        "model": str(model),
        "dataset": str(data),
        "max_steps": STEPS,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "learning_rate": 1e-5,
        "tracking": hft.Tracking(report_to="none"),
        **case.fields,
    }
    if case.trains_adapter:
        fields["lora"] = hft.LoRA(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    if case.method == "grpo":
        answers: dict[str, Any] = {
            "max_completion_length": length // 2,
            "generation_kwargs": {"min_new_tokens": length // 2},
        }
        return hft.GRPO(**fields, **answers, reward_funcs=long_answers)
    if case.method == "dpo":
        return hft.DPO(**fields, max_length=length)
    return hft.SFT(**fields, max_length=length)


def measure(case: Case, spec: TrainSpec, root: Path, python: Literal["uv", "current"]) -> dict[str, Any]:
    """Run the spec; return its peak in GiB, its tokens a second, and whether it fitted.

    Raises:
        RuntimeError: It failed for another reason than a lack of memory.
    """
    site, out = root / "site", root / f"{case.name}.json"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    mine = {"HFT_MEASURE": str(out), "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)  # which the script inherits: what the spec sets would be written into it
    try:
        job = hft.submit(spec, backend=hft.LocalBackend(root=root / "runs", python=python))
        assert isinstance(job, hft.Job)
        job.wait()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    if not job.succeeded:
        log = list(job.logs())
        if any(word in line for line in log for word in OUT_OF_MEMORY):
            return {"fit": "no"}
        raise RuntimeError(f"{case.name} failed:\n" + "\n".join(log[-30:]))
    logged = [event for event in job.events() if event.kind == "log" and "num_tokens" in event.metrics]
    timed = [(event.time, event.metrics["num_tokens"] or 0.0) for event in logged[WARM_UP - 1 :]]
    peak = json.loads(out.read_text(encoding="utf-8"))
    spent, tokens = timed[-1][0] - timed[0][0], timed[-1][1] - timed[0][1]
    speed = {"tokens_per_s": round(tokens / spent, 1), "tps_kind": "num_tokens of TRL's log"} if spent > 0 else {}
    return {"fit": "yes", "peak_gib": round(peak["peak"] / GIB, 3), "mem_metric": peak["metric"], **speed}


def row_of(case: Case, spec: TrainSpec, found: Mapping[str, Any], architecture: str, gpu: tuple[str, float]) -> Any:
    """The measurement as a row of the CSV."""
    plan = hft.plan(spec, backend="local")
    decided = {decision.path: decision.value for decision in plan.decisions}
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    fields: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    return fields | {
        "row_id": case.name,
        "source": "benchmarks-measure",
        "source_ref": f"python -m benchmarks.measure; {versions}",
        "framework": "hfjobs_trainer",
        "model_id": f"random weights, {architecture}",
        "arch": architecture,
        "method": case.method,
        "tuning": case.tuning,
        "lora_r": "16" if case.trains_adapter else "",
        "lora_targets": "all-linear" if case.trains_adapter else "",
        "optimizer": spec.optim,
        "dtype": "bf16" if decided.get("dtype", spec.dtype) == "bfloat16" else "fp32-master+bf16",
        "per_device_batch": spec.per_device_train_batch_size,
        "seq_len": getattr(spec, "max_length", None) or "",
        "seq_kind": "fixed",
        "grad_accum": 1,
        "grad_ckpt": "yes",
        "attn": "sdpa",
        "packing": "yes" if case.fields.get("packing") else "no",
        "fused_ce": "trl",
        "num_gpus": 1,
        "sharding": "none",
        "gpu_type": gpu[0],
        "gpu_mem_gib": round(gpu[1], 2) or "",
        "conf": "high",
        "core": "yes" if gpu[1] else "no",
        **found,
    }


def this_gpu() -> tuple[str, float]:
    """Name and memory in GiB of the GPU; ``("cpu", 0)`` without one."""
    import torch

    if not torch.cuda.is_available():
        return "cpu", 0.0
    cuda: Any = torch.cuda
    found = cuda.get_device_properties(0)
    return str(found.name), found.total_memory / GIB


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="CSV to write")
    parser.add_argument("--size", choices=SIZES, help="size of the model; default: what fits on the GPU")
    parser.add_argument("--batch", type=int, default=4, help="rows per step")
    parser.add_argument("--python", choices=("uv", "current"), default="current", help="as LocalBackend's")
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES], help="only these runs")
    options = parser.parse_args(arguments)
    gpu = this_gpu()
    size = options.size or [name for name, (_, least) in SIZES.items() if gpu[1] >= least][-1]
    length = TINY_LENGTH if size == "tiny" else LENGTH
    with tempfile.TemporaryDirectory(prefix="hft-measure-") as temporary:
        root = Path(temporary)
        architecture = make_model(root / "model", size)
        rows: list[Any] = []
        for case in CASES:
            if options.only and case.name not in options.only:
                continue
            data = write_rows(root, case, length, 16 * options.batch * STEPS)
            spec = spec_of(case, root / "model", data, length, options.batch)
            found = measure(case, spec, root, options.python)
            rows.append(row_of(case, spec, found, architecture, gpu))
            print(f"{case.name:<12}" + ", ".join(f"{key} {value}" for key, value in found.items()), file=sys.stderr)
    with options.out.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
