"""What a run needs of a GPU's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.arguments.precision import Precision
from hfjobs_trainer.planning.arguments.strategies import SHARDED, Spread
from hfjobs_trainer.planning.arguments.tuning import narrowed
from hfjobs_trainer.planning.duration.lengths import PROMPT_TOKENS, UNBOUNDED_TOKENS, longest_prompt, longest_row
from hfjobs_trainer.planning.layout import Layout, eval_batch_size, syncs_each_batch
from hfjobs_trainer.planning.memory.stack import TRL, Stack
from hfjobs_trainer.planning.model.adapters import ALL_LINEAR, NOT_NARROWED, Adapter, Lora, adapter_on
from hfjobs_trainer.planning.model.shape import BYTES, count_parameters
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.specs.training import Head, Training


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run needs on each GPU, with the names and defaults of TRL's configs.

    Attributes:
        model: The base model.
        tuning: Whether all weights are trained, or a LoRA adapter.
        lora_r, lora_targets, lora_dropout, modules_to_save: As in ``LoraConfig``; ``lora_targets`` is its
            ``target_modules``.
        lora_narrowed: Its other fields that decide what is adapted, ``r`` and ``target_modules`` aside.
        quantization: Bits of the frozen layers' weights, and whether the scales of 4 bits are quantized as well.
        dtype: dtype in which the weights are loaded.
        mixed_precision: Precision of autocast; ``None`` computes in the weights' own dtype.
        optim: Optimizer, as ``TrainingArguments.optim``. Paged ones count as if nothing was paged out.
        per_device_train_batch_size: Examples per step on one GPU; for GRPO and RLOO completions, regardless of the
            generations per prompt.
        sequence_length: Tokens of one row, after truncation; for GRPO and RLOO prompt and completion together.
        gradient_accumulation_steps: More than one keeps the gradients alive between forward passes.
        gradient_checkpointing: Whether activations are recomputed.
        padded: Whether rows of a batch differ in length, so that attention is given a mask; ``None``: if there are
            several. Only the simulation distinguishes them.
        attention: ``attn_implementation``; all but ``"eager"`` never hold the whole matrix of scores.
        rows_per_example: Rows of a batch per example: 2 for pairs.
        head: ``"fused"`` never holds all logits (TRL 1.16's stable trainers), ``"full"`` does, ``"none"`` is a reward
            model.
        reference_model: Whether a second, frozen copy of the model is kept.
        generates: Whether completions are generated in the training loop.
        simulated_step: Key of the training step in ``simulating``; ``None`` if it is not simulated.
        beside_bytes: Bytes held throughout besides the model, such as a teacher's.
        generation_batch_size: Sequences that one GPU generates at once; ``None``: batch times accumulation steps, as
            GRPO and RLOO do.
        vllm_gpu_memory_fraction: Share of the GPU that a vLLM in the same process claims; 0 without.
        strategy: How the model is distributed over several GPUs: ``"ddp"`` (a copy on each), ``"fsdp1"``, ``"fsdp2"``,
            ``"zero1"``, ``"zero2"``, ``"zero3"``.
        lora_dora: ``use_dora`` of ``LoraConfig``.
        eval_batch_size: Examples that one GPU evaluates at once; 0 without evaluation.
        sync_each_batch: accelerate's argument of this name: FSDP reduces gradients after each batch instead of once per
            step. transformers' Trainer leaves it off, so that with several accumulation steps each GPU holds all
            gradients (transformers 5.23: ``trainer.py``, ``no_sync``).
        liger_kernel: ``use_liger_kernel``: norms and activations save less.
        activation_offloading: ``activation_offloading``: saved activations are offloaded to host memory.
        offload_weights: Whether FSDP or DeepSpeed keeps weights, gradients and optimizer states in host memory.
        offload_optimizer: Whether DeepSpeed keeps the optimizer's states there, and steps there.
        reshards: Whether FSDP frees gathered weights between the forward and the backward pass.
        unknown: What is needed to estimate memory, and unknown, such as ``"the size of me/reward"``.
        assumed: The assumptions.
        stack: What differs from TRL 1.16, for runs of other stacks.
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
    lora_narrowed: Lora = NOT_NARROWED
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

    @property
    def adapter(self) -> Adapter | None:
        """What is trained with an adapter; ``None`` in full tuning, and if the model's size is unknown."""
        if self.tuning == "full":
            return None
        targets = self.lora_targets
        lora = replace(
            self.lora_narrowed,
            r=self.lora_r,
            targets=targets if targets is None or isinstance(targets, str) else tuple(targets),
            dora=self.lora_dora,
            saved=tuple(self.modules_to_save),
            classifies=self.head == "none",
        )
        return adapter_on(self.model, lora)

    @classmethod
    def of(cls, training: Training, *, beta: float = 0.0, **fields: Any) -> Self:
        """The workload of a method: what its training step decides, and ``fields``, which take precedence.

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


def workload_of(run: Run, precision: Precision, layout: Layout) -> Workload:
    """What the run needs on each GPU with this layout."""
    tokens, assumed = _longest_sequence(run)
    lora, vllm = run.lora, run.vllm
    if lora is not None and lora.continues:
        assumed += (f"an adapter of rank {lora.r} on every linear layer",)
    spread = run.spread or Spread(layout.strategy if layout.strategy in SHARDED else "ddp")
    return Workload(
        model=run.model,
        tuning="lora" if lora else "full",
        lora_r=lora.r if lora else 16,
        lora_targets=(ALL_LINEAR if lora.continues else lora.target_modules) if lora else None,
        lora_dropout=lora.lora_dropout if lora else 0.0,
        modules_to_save=(lora.modules_to_save or ()) if lora else (),
        quantization=_quantization(run),
        dtype="float32" if precision.dtype == "auto" else precision.dtype,
        mixed_precision=None if precision.mixed == "fp32" else precision.mixed,
        optim=run.optim,
        per_device_train_batch_size=layout.per_device_train_batch_size,
        sequence_length=tokens,
        gradient_accumulation_steps=layout.gradient_accumulation_steps,
        gradient_checkpointing=layout.gradient_checkpointing,
        attention=run.attention,
        rows_per_example=run.training.sequences,
        head=run.training.head,
        reference_model=run.keeps_reference,
        generates=run.answers is not None,
        simulated_step=run.training.simulated_step,
        beside_bytes=_beside(run, precision),
        generation_batch_size=generated_at_once(run, layout),
        # if the user leaves it open, the planner gives it what is left; TRL's default is the least
        vllm_gpu_memory_fraction=vllm.share if vllm is not None and vllm.colocated else 0.0,
        lora_dora=bool(lora and lora.use_dora),
        lora_narrowed=narrowed(lora) if lora else NOT_NARROWED,
        eval_batch_size=eval_batch_size(run, layout) if run.evaluation.in_memory else 0,
        padded=False if layout.packing or run.rows.packed else None,
        sync_each_batch=syncs_each_batch(run, layout) or _syncs_as_given(run.hardware.accelerator_config),
        liger_kernel=run.liger_kernel,
        activation_offloading=run.activation_offloading,
        strategy=spread.strategy,
        reshards=spread.reshards,
        offload_weights=spread.offloads == "all",
        offload_optimizer=spread.offloads == "optimizer",
        unknown=run.unknown,
        assumed=assumed,
    )


def generated_at_once(run: Run, layout: Layout) -> int | None:
    """Completions that training generates at once on one GPU; ``None``: those of a whole step."""
    if run.vllm is not None:
        return 0
    # TRL 1.16: trainer/grpo_config.py and get_train_dataloader of GRPO and RLOO
    if run.batch.generation_size is not None:
        return max(1, run.batch.generation_size // (max(1, layout.num_gpus) * run.nodes))
    answers = run.answers
    if answers is None or answers.batches is None:
        return None
    return answers.batches * answers.per_example * layout.per_device_train_batch_size


def _longest_sequence(run: Run) -> tuple[int, tuple[str, ...]]:
    """Tokens of the longest row, with its completion if one is generated; and the assumptions."""
    lengths, answers, assumed = run.rows.lengths, run.answers, list[str]()
    if answers is not None and not answers.within_max_length:
        if lengths is None:
            assumed.append(f"prompts of {PROMPT_TOKENS:,} tokens")
        if answers.most is None:
            assumed.append(f"completions of {UNBOUNDED_TOKENS:,} tokens")
        return longest_prompt(lengths) + (answers.most or UNBOUNDED_TOKENS), tuple(assumed)
    limit = run.rows.max_length
    if limit is None and lengths is None:
        assumed.append(f"rows of {UNBOUNDED_TOKENS:,} tokens")
    return limit or (UNBOUNDED_TOKENS if lengths is None else longest_row(lengths)), tuple(assumed)


def _syncs_as_given(accelerator_config: Mapping[str, Any] | None) -> bool:
    """Whether the user has FSDP reduce gradients after each batch, not once per step."""
    accumulation: Any = (accelerator_config or {}).get("gradient_accumulation_kwargs")
    return isinstance(accumulation, dict) and bool(cast("dict[str, Any]", accumulation).get("sync_each_batch"))


def _quantization(run: Run) -> Literal["4bit", "4bit-double", "8bit"] | None:
    if run.quantization is None:
        return None
    return "4bit-double" if run.quantization.use_double_quant else run.quantization.bits


def _beside(run: Run, precision: Precision) -> float:
    """Bytes of the other models, and of logits that are kept; a model of unknown size counts nothing."""
    float32, total = BYTES["float32"], 0.0
    for side, model in run.side_models:
        size = (model.num_parameters or count_parameters(model) or 0) if model is not None else 0
        if side.held == "trained":
            # weights, gradients and two moments
            total += 4 * float32 * size
        else:
            total += BYTES.get(precision.dtype if side.held == "model" else precision.frozen_dtype, float32) * size
    answers, batch = run.answers, run.batch
    if answers is not None and answers.keeps_logits:
        kept = batch.per_device * batch.accumulation * (answers.most or UNBOUNDED_TOKENS)
        total += float32 * kept * (run.model.vocab_size or 0)
    return total
