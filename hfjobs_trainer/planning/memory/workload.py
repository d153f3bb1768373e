"""What a run asks of a GPU's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.memory.stack import TRL, Stack
from hfjobs_trainer.specs.training import Head, Training


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run asks of each GPU, under the names and with the defaults of TRL's configs.

    Attributes:
        model: The base model.
        tuning: Whether all weights are trained, or a LoRA adapter.
        lora_r, lora_targets, lora_dropout, modules_to_save: As in ``LoraConfig``; ``lora_targets`` is its
            ``target_modules``.
        quantization: Bits of the frozen layers' weights, and whether the scales of 4 bits are quantized as well.
        dtype: dtype in which the weights are loaded.
        mixed_precision: Precision of autocast; ``None`` computes in the weights' own dtype.
        optim: Optimizer, as ``TrainingArguments.optim``. Paged ones count as if nothing were paged out.
        per_device_train_batch_size: Examples per step on one GPU; for GRPO and RLOO completions, whatever the number of
            generations per prompt.
        sequence_length: Tokens of one row, after truncation; for GRPO and RLOO prompt and completion together.
        gradient_accumulation_steps: More than one keeps the gradients alive between forward passes.
        gradient_checkpointing: Whether activations are recomputed.
        padded: Whether rows of a batch differ in length, so that attention is given a mask; ``None``: if there are
            several. Only the simulation tells the difference.
        attention: ``attn_implementation``; all but ``"eager"`` never hold the whole matrix of scores.
        rows_per_example: Rows of a batch that one example becomes: 2 for pairs.
        head: ``"fused"`` never holds all logits (TRL 1.16's stable trainers), ``"full"`` does, ``"none"`` is a reward
            model.
        reference_model: Whether a second, frozen copy of the model is kept.
        generates: Whether answers are generated in the training loop.
        simulated_step: Key of the training step in ``simulating``; ``None`` if it is not simulated.
        beside_bytes: What is held throughout beside the model, such as a teacher.
        generation_batch_size: Sequences that one GPU generates at once; ``None``: batch times accumulation steps, as
            GRPO and RLOO do.
        vllm_gpu_memory_fraction: Share of the GPU that a vLLM in the same process claims; 0 without.
        strategy: How the model is spread over several GPUs: ``"ddp"`` (a copy on each), ``"fsdp1"``, ``"fsdp2"``,
            ``"zero1"``, ``"zero2"``, ``"zero3"``.
        lora_dora: ``use_dora`` of ``LoraConfig``.
        eval_batch_size: Examples that one GPU evaluates at once; 0 without evaluation.
        sync_each_batch: accelerate's argument of this name: FSDP spreads gradients after each batch instead of once per
            step. transformers' Trainer leaves it off, so that with several accumulation steps each GPU holds all
            gradients (transformers 5.23: ``trainer.py``, ``no_sync``).
        liger_kernel: ``use_liger_kernel``: norms and activations save less.
        activation_offloading: ``activation_offloading``: saved activations wait in the host's memory.
        offload_weights: Whether FSDP or DeepSpeed keeps weights, gradients and optimizer states in the host's memory.
        offload_optimizer: Whether DeepSpeed keeps the optimizer's states there, and steps there.
        reshards: Whether FSDP lets go of gathered weights between the forward and the backward pass.
        unknown: What must be known to tell the memory, and is not, such as ``"the size of me/reward"``.
        assumed: What of this is a guess.
        stack: What is not TRL 1.16's choice, for runs of other stacks.
    """

    model: ModelFacts
    tuning: Literal["full", "lora"] = "full"
    lora_r: int = 16
    lora_targets: Sequence[str] | str | None = None
    lora_dropout: float = 0.0
    modules_to_save: Sequence[str] = ()
    quantization: Literal["4bit", "4bit-double", "8bit"] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    mixed_precision: Literal["bf16", "fp16"] | None = "bf16"
    optim: str = "adamw_torch_fused"
    per_device_train_batch_size: int = 8
    sequence_length: int = 1024
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = True
    attention: str | None = None
    rows_per_example: int = 1
    head: Head = "fused"
    reference_model: bool = False
    generates: bool = False
    simulated_step: str | None = "next_token"
    beside_bytes: float = 0.0
    generation_batch_size: int | None = None
    vllm_gpu_memory_fraction: float = 0.0
    strategy: str = "ddp"
    lora_dora: bool = False
    eval_batch_size: int = 0
    sync_each_batch: bool = False
    liger_kernel: bool = False
    activation_offloading: bool = False
    offload_weights: bool = False
    offload_optimizer: bool = False
    reshards: bool = True
    padded: bool | None = None
    unknown: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    stack: Stack = TRL

    @classmethod
    def of(cls, training: Training, *, beta: float = 0.0, **fields: Any) -> Self:
        """The workload of a method: what its training step decides, and ``fields``, which win.

        Args:
            training: The method's own declaration, such as ``hft.DPO.TRAINING``.
            beta: Weight of the divergence from the reference, where the method has one.
            **fields: Fields of the workload.
        """
        decided: dict[str, Any] = {
            "rows_per_example": training.sequences,
            "head": training.head,
            "reference_model": training.keeps_reference(adapter=fields.get("tuning") == "lora", beta=beta),
            "generates": training.answers is not None,
            "simulated_step": training.simulated_step,
        }
        return cls(**decided | fields)
