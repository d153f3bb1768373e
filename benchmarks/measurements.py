"""Published measurements of training memory as workloads that can be estimated.

One row of the CSV is one run whose authors published its peak, or that it did not fit. What the estimate needs and no
argument of TRL speaks of (which kernels, which copies) follows from the row's ``framework``, never from its figures.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.memory.closed_form import Workload
from hfjobs_trainer.planning.memory.stack import TRL, Stack
from hfjobs_trainer.specs.registry import METHODS

Metric = Literal["allocated", "reserved", "device"]

# A model as its config.json describes it, by the name that the measurements use.
ARCHITECTURES = Path(__file__).with_name("architectures.json")

# Columns of the CSV.
COLUMNS = [
    *("row_id", "source", "source_ref", "framework", "model_id", "arch", "params_b", "method", "tuning"),
    *("lora_r", "lora_targets", "optimizer", "dtype", "per_device_batch", "seq_len", "seq_kind", "grad_accum"),
    *("grad_ckpt", "attn", "packing", "fused_ce", "num_gpus", "sharding", "cpu_offload", "gpu_type", "gpu_mem_gib"),
    *("peak_gib", "mem_metric", "mem_as_reported", "tokens_per_s", "tps_kind", "time_value", "time_unit"),
    *("fit", "conf", "notes", "core"),
]

_TARGETS: dict[str, Sequence[str] | str | None] = {
    "q+v": ("q_proj", "v_proj"),
    "q": ("q_proj",),
    "k": ("k_proj",),
    "v": ("v_proj",),
    "o": ("o_proj",),
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "lm_head": ("lm_head",),
    "embed": ("embed_tokens",),
    "c_attn": ("c_attn",),
    "query_key_value": ("query_key_value",),
}
_SWIFT_3 = "ms-swift-examples"
_ATTENTION = {"eager": "eager", "fa2": "flash_attention_2"}
_OPTIMIZERS = {
    "": "adamw_torch",
    "adamw": "adamw_torch",
    "decoupled_adamw": "adamw_torch",
    "adamw fused": "adamw_torch_fused",
    "adamw_torch_fused": "adamw_torch_fused",
    "paged_adamw32": "paged_adamw_32bit",
    "paged_adamw8bit": "paged_adamw_8bit",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One published run.

    Attributes:
        row_id, source, framework, notes: As in the CSV.
        core: Whether the row is of a stack like TRL's, with its settings stated.
        tuning: ``"full"``, ``"lora"``, ``"qlora"``, or what the row says.
        sharded: Whether the model was spread over several GPUs.
        peak_gib: The published peak; ``None`` where only the outcome is known.
        metric: Which of the allocator's figures the peak is: bytes of live tensors (``"allocated"``), with what the
            allocator keeps (``"reserved"``), or all that the GPU has given away (``"device"``, as nvidia-smi shows).
        fitted: Whether the run got through; ``False`` is an out-of-memory error.
        gpu_gib: Memory of one GPU, GiB; ``None`` where it is not stated.
        num_gpus: GPUs of the run.
        workload: What was trained, and how; ``None`` if it cannot be modelled.
        reason: Why it cannot.
    """

    row_id: str
    source: str
    framework: str
    notes: str
    core: bool
    tuning: str
    sharded: bool
    peak_gib: float | None
    metric: Metric
    fitted: bool
    gpu_gib: float | None
    num_gpus: int
    workload: Workload | None = None
    reason: str | None = None


def read_measurements(path: str | Path) -> list[Measurement]:
    """All rows of a CSV of measurements, in its order."""
    with Path(path).open(newline="", encoding="utf-8") as lines:
        return [measurement_of(row) for row in csv.DictReader(lines)]


def measurement_of(row: dict[str, str]) -> Measurement:
    """One row of the CSV; what it leaves open is taken as its framework's default."""
    row = {name: (value or "").strip() for name, value in row.items()}
    found: Workload | None = None
    reason = _unmodelled(row)
    if reason is None:
        found = _workload(row)
    return Measurement(
        row_id=row["row_id"],
        source=row["source"],
        framework=row["framework"],
        notes=row["notes"],
        core=row["core"].lower() == "yes",
        tuning=row["tuning"],
        sharded=(_number(row["num_gpus"]) or 1) > 1 and _strategy(row) != "ddp",
        peak_gib=_number(row["peak_gib"]),
        metric=_metric(row["mem_metric"], row["framework"]),
        fitted=row["fit"] != "no",
        gpu_gib=_number(row["gpu_mem_gib"]),
        num_gpus=int(_number(row["num_gpus"]) or 1),
        workload=found,
        reason=reason,
    )


def _unmodelled(row: dict[str, str]) -> str | None:
    """Why a row cannot be estimated, if it cannot."""
    if row["tuning"] not in ("full", "lora", "qlora"):
        return f"tuning is {row['tuning'] or 'not stated'}"
    missing = [name for name in ("per_device_batch", "seq_len") if not _number(row[name])]
    if missing:
        return f"{' and '.join(missing)} not stated"
    if row["sharding"].startswith(("mp", "megatron")):
        return f"{row['sharding']} is none of the strategies that are modelled"
    if row["arch"] not in _architectures() and not _number(row["params_b"]):
        return f"nothing is known of {row['arch'] or row['model_id'] or 'the model'}"
    return None


def _workload(row: dict[str, str]) -> Workload:
    quantization = _quantization(row)
    fused = row["fused_ce"] in ("liger", "unsloth", "cce")
    # fms-acceleration takes Liger's loss alone
    lean = row["fused_ce"] in ("liger", "unsloth") and not row["source"].startswith("fms-acceleration")
    targets, modules, dora = _lora(row)
    # pretraining and what no trainer is known of take the step of SFT
    method = METHODS.get(row["method"].split("(")[0], METHODS["sft"])
    return Workload.of(
        method.TRAINING,
        model=_model(row),
        tuning="full" if row["tuning"] == "full" else "lora",
        lora_r=int(_number(row["lora_r"]) or 8),
        lora_targets=targets,
        lora_dora=dora,
        lora_dropout=_dropout(row),
        modules_to_save=modules,
        quantization=quantization,
        dtype=_dtype(row, quantization is not None),
        mixed_precision=_autocast(row),
        optim=_optimizer(row),
        per_device_train_batch_size=int(float(row["per_device_batch"])),
        sequence_length=int(float(row["seq_len"])),
        # litgpt's recipes all accumulate
        gradient_accumulation_steps=int(_number(row["grad_accum"]) or (2 if row["framework"] == "litgpt" else 1)),
        gradient_checkpointing=not row["grad_ckpt"].lower().startswith(("no", "false")),
        padded=_padded(row),
        attention=_ATTENTION.get(row["attn"], "sdpa"),
        head="fused" if fused else "full",
        strategy=_strategy(row),
        liger_kernel=lean,
        activation_offloading=row["cpu_offload"] == "act" or "offload" in row["grad_ckpt"],
        offload_weights=row["cpu_offload"] == "yes",
        stack=_stack(row),
    )


def _padded(row: dict[str, str]) -> bool | None:
    """Whether attention is given a mask: not for rows of one length, packed ones, or the kernels of flash-attn."""
    bare = row["seq_kind"] == "fixed" or row["packing"] == "yes" or row["attn"].startswith(("fa2", "flash"))
    return False if bare else None


def _model(row: dict[str, str]) -> ModelFacts:
    known = _architectures().get(row["arch"])
    if known is not None:
        return ModelFacts(**known)
    return ModelFacts(num_parameters=round((_number(row["params_b"]) or 0) * 1e9))


def _stack(row: dict[str, str]) -> Stack:
    """What the row's framework does otherwise than TRL 1.16."""
    framework, kernels = row["framework"], row["fused_ce"]
    compiled = kernels == "compiled" or "compile" in row["notes"]
    fields: dict[str, Any] = {
        "selective": row["grad_ckpt"] == "selective",
        "lean_kernels": framework in ("unsloth",) or (framework.startswith("torch") and compiled),
        "frees_gradients": "optimizer_in_bwd" in row["notes"],
    }
    if row["tuning"] == "qlora":
        # PEFT's autocast_adapter_dtype, which TRL 1.16 undoes
        fields["adapter_bytes"] = 4 if _is_trainer(framework) and framework != "hfjobs_trainer" else 2
    elif framework in ("litgpt", "torchtune") or framework.startswith("fsdp_qlora"):
        fields["adapter_bytes"] = 2
    if "torch 2.0" in row["notes"]:
        # its foreach AdamW holds the square root of the second moment, and a second one with epsilon added
        # (torch 2.0: optim/adamw.py, _multi_tensor_adamw)
        fields["adamw_temporaries"] = 2
    if row["source"].startswith("fms-acceleration"):
        fields |= _fms(row)
    fields["quantizes_experts"] = framework == "unsloth"
    fields["loads_whole"] = framework == "litgpt"
    fields["casts_head"] = kernels == "liger"
    fields["gptq"] = _is_gptq(row)
    if _is_gptq(row):
        # auto-gptq 0.5 (qlinear_cuda_old.py) shifts into int32, casts to int8, masks, subtracts the zeros and scales,
        # each as an operation of its own: 4.5 + 5 + 2 + 2 + 3 bytes of a weight
        fields["unpack_bytes"] = 16.5
    return Stack(**fields, **_logits(row)) if fields else TRL


def _fms(row: dict[str, str]) -> dict[str, Any]:
    """fms-acceleration's pins: torch 2.4.1, accelerate 1.0.1, PEFT 0.13.2 (scripts/benchmarks/refs).

    Its fast kernels are the norms, the rotary embedding and the loss, not the MLP (framework_plugin_fast_kernels.py).
    Recomputation is reentrant, transformers' default then.
    """
    frozen = row["tuning"] != "full" and _strategy(row) == "fsdp1"
    return {"lean_norms": "foak" in row["notes"], "keeps_inputs": frozen}


def _logits(row: dict[str, str]) -> dict[str, Any]:
    """Bytes per logit alive and cached, where the row's loss is not the one of transformers 4.48 and later."""
    framework, kernels = row["framework"], row["fused_ce"]
    if row["source"].startswith("fms-acceleration"):
        # transformers 4.46 to 4.49: the caller's half-precision logits, a float32 copy and its shifted one
        # (loss/loss_utils.py, ForCausalLMLoss)
        return {"logit_bytes": 14.0, "logit_cached": 0.0}
    if _is_gptq(row):
        # trained under DeepSpeed, see _strategy: logits, a shifted copy, log-probabilities and their gradient are all
        # in half precision
        return {"logit_bytes": 8.0, "logit_cached": 0.0}
    if row["arch"].startswith("qwen-"):
        # half-precision logits and a shifted copy beside the three float32 ones
        return {"logit_bytes": 12.0, "logit_cached": 4.0}
    if framework.startswith("fsdp_qlora"):
        # transformers up to 4.47 makes a float32 copy of all logits and a shifted one; the loop keeps the outputs alive
        return {"logit_bytes": 16.0, "logit_cached": 2.0}
    if kernels in ("chunked", "chunked-logits(litgpt)"):
        # all logits in half precision, as a list of parts; the loss's float32 copies are of one part of eight
        return {"logit_bytes": 3.0, "logit_cached": 0.0}
    return {}


def _is_gptq(row: dict[str, str]) -> bool:
    return "gptq" in row["dtype"]


def _is_trainer(framework: str) -> bool:
    """Whether a framework trains with transformers' Trainer, under autocast."""
    return framework.startswith(("trl", "hf-trainer", "ms-swift", "axolotl", "unsloth", "hfjobs_trainer"))


def _lora(row: dict[str, str]) -> tuple[Sequence[str] | str | None, tuple[str, ...], bool]:
    """Target modules, modules trained in full beside them, and whether it is DoRA."""
    text = row["lora_targets"]
    dora = "dora" in text.lower()
    if not text or row["tuning"] == "full":
        return None, (), dora
    if "copies" in text:
        return "all-linear", ("embed_tokens", "lm_head"), dora
    first = text.split("(")[0].strip()
    if first == "all-linear":
        return "all-linear", (), dora
    names: list[str] = []
    for part in first.split("+"):
        name = part.strip()
        names += (
            ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
            if (name == "all-linear")
            else (_TARGETS.get(name) or (name,))
        )
    if "output_proj" in text:
        names.append("o_proj")
    return tuple(names), (), dora


def _dropout(row: dict[str, str]) -> float:
    """The default of scripts whose users do not change it."""
    if row["source"] == "qwen-readme" or row["framework"] == "hf-trainer+peft":
        return 0.05  # QwenLM/Qwen: finetune.py, LoraArguments
    if row["source"].startswith("fms-acceleration"):
        return 0.1  # foundation-model-stack/fms-acceleration: scripts/benchmarks/scenarios.yaml
    return 0.1 if row["framework"].startswith("fsdp_qlora") else 0.0  # AnswerDotAI/fsdp_qlora: train.py, main


def _quantization(row: dict[str, str]) -> Literal["4bit", "4bit-double", "8bit"] | None:
    if row["tuning"] != "qlora":
        return None
    # axolotl and fms-acceleration set bnb_4bit_use_double_quant by themselves (fms: framework_plugin_bnb.py)
    alone = row["framework"].startswith("axolotl") or row["source"].startswith("fms-acceleration")
    double = "dq" in row["dtype"] or "nf4-dq" in row["notes"] or alone
    return "4bit-double" if double else "4bit"


def _dtype(row: dict[str, str], quantized: bool) -> Literal["float32", "bfloat16", "float16"]:
    """The dtype of what is not quantized."""
    if "fp32-master" in row["dtype"]:
        return "float32"
    # PEFT's prepare_model_for_kbit_training turns what is not quantized into float32, unless it is GPTQ; the recipes of
    # these stacks call it, but for ms-swift since its third version (swift/llm/train/tuner.py), which has examples
    prepares = row["framework"].startswith(("ms-swift", "hf-trainer", "trl-sft")) and row["source"] != _SWIFT_3
    if quantized and not _is_gptq(row) and prepares:
        return "float32"
    return "float16" if "fp16" in row["dtype"] else "bfloat16"


def _autocast(row: dict[str, str]) -> Literal["bf16", "fp16"] | None:
    """transformers' Trainer computes under autocast; the loops of other stacks in the weights' own dtype."""
    if _is_gptq(row) or not (_is_trainer(row["framework"]) or row["framework"] == "torchtitan"):
        return None
    return "fp16" if "fp16" in row["dtype"] else "bf16"


def _optimizer(row: dict[str, str]) -> str:
    name = row["optimizer"].split("(")[0].strip().rstrip("?")
    if name == "adamw" and row["framework"] == "torchtune":
        return "adamw_torch_fused"  # its recipes ask for the fused one
    return _OPTIMIZERS.get(name, name)


def _strategy(row: dict[str, str]) -> str:
    sharding = row["sharding"]
    if row["source"] == "qwen-readme" and _is_gptq(row):
        # one GPU, but under DeepSpeed and without autocast (QwenLM/Qwen: finetune/finetune_qlora_single_gpu.sh)
        return "zero2"
    if sharding.startswith("zero"):
        return sharding[:5]
    if sharding.startswith("fsdp"):
        return "fsdp2" if "fsdp2" in row["dtype"] or "fsdp2" in row["source_ref"] else "fsdp1"
    return "ddp"


def _metric(text: str, framework: str) -> Metric:
    if framework.startswith("axolotl") and "author" in text:
        # its examples quote device_mem_reserved(gib) of its log (axolotl: examples/gpt-oss/README.md), which is torch's
        return "reserved"
    if ("allocated" in text and "reserved" not in text) or "active" in text:
        return "allocated"
    if "smi" in text or "capacity" in text:
        return "device"
    return "reserved"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@cache
def _architectures() -> dict[str, dict[str, Any]]:
    return json.loads(ARCHITECTURES.read_text(encoding="utf-8"))
