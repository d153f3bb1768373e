"""Memory of one GPU during training: a closed form over plain numbers.

The peak is the largest of a few moments of a step (end of the forward pass, backward pass through the head, through the
last layer, through the first, the optimizer's step, generation); an estimate is what is held at that moment. Bytes per
token were read off the tensors that autograd saves in the decoders of transformers 5.23 with PEFT 0.21; the fused
head's are those of TRL 1.16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.architecture import Shape, adapted_linears, shape_of
from hfjobs_trainer.planning.estimate import GIB, MemoryEstimate
from hfjobs_trainer.planning.sharding import spread
from hfjobs_trainer.planning.stack import TRL, Stack

__all__ = ["GIB", "MemoryEstimate", "Workload", "estimate_memory"]

# Tokens and vocabulary entries of one tile of the fused head (TRL 1.16: kernels/chunked_logprob.py, trainer/utils.py).
TILE_TOKENS, TILE_VOCAB = 4096, 32_768
# Bytes per logit where the loss is computed from all of them: half precision, a float32 copy, its softmax and the
# gradient of each. Reproduces the published peaks of transformers 4.48 and later.
LOGIT_BYTES = 14
# Copies of the next token's float32 logits that sampling holds: logits, processed, sorted, probabilities.
SAMPLING_COPIES = 4
# What the CUDA context takes of a GPU, and NCCL's buffers on top of it when there are several: set so that published
# nvidia-smi figures are met.
CONTEXT_GIB, NCCL_GIB = 0.8, 0.4
# Scratch space of cuBLAS and of the kernels.
WORKSPACE_GIB = 0.1
# Share of what comes and goes during a step that the allocator cannot reuse.
FRAGMENTATION = 0.10
# Bytes of a quantized weight with its share of the scales: one of 4 bytes for 64 weights, or of 8.25 bits if the scales
# are quantized themselves; of 8 bits, one for a whole row.
PACKED_BYTES = {"4bit": 0.5625, "4bit-double": 0.516, "8bit": 1.002}

# Share of everything else that published runs on 4-bit weights hold beyond the closed form: ten of them lie 8% to 29%
# above it.
QUANTIZED_SHARE = 0.15

# Optimizer states per parameter, of those libraries that keep them in float32 whatever the weights are.
_FLOAT32_STATES = {
    **dict.fromkeys(("lion_32bit", "paged_lion_32bit", "rmsprop_bnb", "rmsprop_bnb_32bit"), 1),
    **dict.fromkeys(("ademamix", "paged_ademamix_32bit"), 3),
    "paged_adamw_32bit": 2,
}
# Bytes of state per parameter of bitsandbytes' 8-bit optimizers; 2 for those that are not named here.
_EIGHT_BIT_STATES = {
    **dict.fromkeys(("lion_8bit", "paged_lion_8bit", "rmsprop_bnb_8bit"), 1),
    **dict.fromkeys(("ademamix_8bit", "paged_ademamix_8bit"), 3),
}
# torch optimizers that, unfused, hold one temporary value per trained parameter during the step.
_FOREACH = frozenset({"adamw_torch", "adagrad", "rmsprop"})

# Rows of a batch that one example becomes, where it is not one: chosen and rejected are concatenated.
_ROWS = {"dpo": 2, "reward": 2, "orpo": 2, "cpo": 2, "online_dpo": 2}
# Methods whose trainer generates completions in the training loop.
_GENERATING = frozenset({"grpo", "rloo", "distillation", "online_dpo", "gkd", "ppo"})
# Methods whose loss is computed from all logits, and those that keep a copy of the model unless it has an adapter.
_FULL_HEAD = frozenset({"orpo", "cpo", "online_dpo", "gkd", "ppo"})
_REFERENCE = frozenset({"dpo", "kto", "online_dpo", "ppo"})


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run asks of each GPU, under the names and with the defaults of TRL's configs.

    Attributes:
        model: The base model.
        method: Training method; decides the three fields below that may be ``None``.
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
        rows_per_example: Rows that one example becomes; ``None``: by method, 2 for pairs.
        head: ``"fused"`` never holds all logits (TRL 1.16's stable trainers), ``"full"`` does, ``"none"`` is a reward
            model; ``None``: by method.
        reference_model: Whether a second copy of the model is kept; ``None``: for DPO, KTO, OnlineDPO and PPO without
            LoRA. GRPO and RLOO keep one if ``beta`` is not 0 and there is no adapter.
        beside_bytes: What is held throughout beside the model, such as a teacher.
        generation_batch_size: Sequences that one GPU generates at once; ``None``: batch times accumulation steps, as
            GRPO and RLOO do.
        vllm_gpu_memory_fraction: Share of the GPU that a vLLM in the same process claims; 0 without.
        strategy: How the model is spread over several GPUs: ``"ddp"`` (a copy on each), ``"fsdp1"``, ``"fsdp2"``,
            ``"zero1"``, ``"zero2"``, ``"zero3"``.
        lora_dora: ``use_dora`` of ``LoraConfig``.
        liger_kernel: ``use_liger_kernel``: norms and activations save less.
        activation_offloading: ``activation_offloading``: saved activations wait in the host's memory.
        offload_weights: Whether FSDP or DeepSpeed keeps weights, gradients and optimizer states in the host's memory.
        stack: What is not TRL 1.16's choice, for runs of other stacks.
    """

    model: ModelFacts
    method: str = "sft"
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
    rows_per_example: int | None = None
    head: Literal["fused", "full", "none"] | None = None
    reference_model: bool | None = None
    beside_bytes: float = 0.0
    generation_batch_size: int | None = None
    vllm_gpu_memory_fraction: float = 0.0
    strategy: str = "ddp"
    lora_dora: bool = False
    liger_kernel: bool = False
    activation_offloading: bool = False
    offload_weights: bool = False
    padded: bool | None = None
    stack: Stack = TRL


def estimate_memory(workload: Workload, num_gpus: int = 1) -> MemoryEstimate | None:
    """Estimate the peak memory of one GPU; ``None`` if nothing is known of the model's size.

    With a copy of the model on every GPU (DDP), more GPUs never need less of each; the other strategies spread what
    they say. Experts and images are not modelled.

    Args:
        workload: What is trained, and how.
        num_gpus: GPUs of the run.
    """
    shape = shape_of(workload.model)
    return None if shape is None else _Step(workload, shape, num_gpus).peak()


class _Step:
    """The byte counts of one training step."""

    def __init__(self, workload: Workload, shape: Shape, num_gpus: int) -> None:
        self.w, self.shape, self.num_gpus = workload, shape, num_gpus
        self.full = workload.tuning == "full"
        self.weight_bytes = 4 if workload.dtype == "float32" else 2
        self.amp = workload.mixed_precision is not None
        # autocast turns float32 weights into half-precision copies for every matrix product
        self.casts = self.amp and self.weight_bytes == 4
        self.compute_bytes = 2 if self.amp else self.weight_bytes
        rows = workload.rows_per_example or _ROWS.get(workload.method, 1)
        self.tokens = rows * workload.per_device_train_batch_size * workload.sequence_length
        usual = "none" if workload.method == "reward" else "full" if workload.method in _FULL_HEAD else "fused"
        self.head = workload.head or usual
        self.adapted = {} if self.full else adapted_linears(shape, workload.lora_targets, workload.model.model_type)
        kept = [name for name in workload.modules_to_save if name in ("embed_tokens", "lm_head")]
        self.saved_modules = 0 if self.full else len(kept) * shape.embedding
        self.trains_head = self.full or "lm_head" in kept
        self.trains_embedding = self.full or "embed_tokens" in kept
        # TRL leaves PEFT's autocast_adapter_dtype on: adapters are float32, modules beside them as they were loaded;
        # on quantized weights it turns all that is trained into bfloat16
        width = (2, 2) if workload.quantization else (4, self.weight_bytes)
        self.adapter = 0.0 if self.full else float(width[0] * self._lora_parameters() + width[1] * self.saved_modules)
        self.trained = shape.parameters if self.full else self._lora_parameters() + self.saved_modules
        self.gradients = float(self.weight_bytes * shape.parameters) if self.full else self.adapter

    def peak(self) -> MemoryEstimate:
        """The worst moment."""
        return max((self._with_overhead(held) for held in self.moments()), key=lambda held: held.total_bytes)

    def _with_overhead(self, held: MemoryEstimate) -> MemoryEstimate:
        num_gpus, several = self.num_gpus, self.num_gpus > 1
        shares = several and self.w.strategy != "ddp"
        if shares:
            frozen = 0.0 if self.full else held.weights
            held = spread(held, self.shape, self.w.strategy, num_gpus, frozen=frozen, half=self.compute_bytes == 2)
        passing = held.gradients + held.activations + held.logits + held.kv_cache + held.buffers
        fixed = (CONTEXT_GIB + (NCCL_GIB if several else 0)) * GIB
        return replace(
            held,
            buffers=held.buffers + (self.gradients if several and not shares else 0) + WORKSPACE_GIB * GIB,
            fragmentation=FRAGMENTATION * passing + (QUANTIZED_SHARE * held.total_bytes if self.w.quantization else 0),
            overhead=fixed,
            num_gpus=num_gpus,
            strategy=self.w.strategy,
            ddp_bytes=0.0 if several else self.gradients + NCCL_GIB * GIB,
            gpu_fraction=self.w.vllm_gpu_memory_fraction,
            assumed=self.shape.assumed,
        )

    def moments(self) -> list[MemoryEstimate]:
        """What is held at each moment that can be the worst; a step's use is linear in between."""
        layer_copies = 2 * self.shape.body / self.shape.layers if self.casts else 0.0
        all_copies = 2 * self.shape.body if self.casts else 0.0
        kept = self._kept_activations()
        working = self._working_set()
        waiting = self.gradients if self.w.gradient_accumulation_steps > 1 else 0.0
        head_gradient = self.shape.embedding * self.weight_bytes if self.trains_head and self.head != "none" else 0.0
        # a frozen matrix is cast anew in each layer, a trained one is cached to the end of the forward pass
        holds_all = not self.w.gradient_checkpointing or self.full
        copies = all_copies if holds_all else layer_copies
        backward_copies = layer_copies if self.w.gradient_checkpointing else all_copies
        embedding = self.shape.embedding * self.weight_bytes if self.trains_embedding else 0.0
        last = max(waiting, min(self.gradients, head_gradient))
        found = [
            self._held("the loss", gradients=waiting, activations=kept, logits=self._head(loss=True), buffers=copies),
            self._held(
                "the head's backward pass",
                gradients=waiting,
                activations=kept,
                logits=self._head(loss=False),
                buffers=backward_copies,
            ),
            self._held(
                "the last layer's backward pass", gradients=last, activations=kept + working, buffers=backward_copies
            ),
            self._held(
                "the end of the backward pass",
                gradients=self.gradients,
                activations=working + kept / self.shape.layers,
                buffers=layer_copies + embedding,
            ),
            self._held("the optimizer's step", gradients=self.gradients, buffers=self._step_temporaries()),
        ]
        if self.w.method in _GENERATING and not self.w.vllm_gpu_memory_fraction:
            cache, sampling = self._generation()
            gathered = all_copies if self.full else layer_copies
            found.append(self._held("generation", kv_cache=cache, logits=sampling, buffers=gathered))
        return found

    def _held(
        self,
        moment: str,
        *,
        gradients: float = 0.0,
        activations: float = 0.0,
        logits: float = 0.0,
        kv_cache: float = 0.0,
        buffers: float = 0.0,
    ) -> MemoryEstimate:
        """What is held throughout the run, and what is held at this moment only."""
        reference = self.w.reference_model
        if reference is None:
            reference = self.full and self.w.method in _REFERENCE
        weights = self._weights()
        return MemoryEstimate(
            weights=weights,
            adapter=self.adapter,
            optimizer_states=self._optimizer_states(),
            reference_model=(weights if reference else 0.0) + self.w.beside_bytes,
            moment=moment,
            gradients=gradients,
            activations=activations,
            logits=logits,
            kv_cache=kv_cache,
            buffers=buffers + self._dequantized(),
        )

    def _weights(self) -> float:
        packed = self.shape.layers * sum(inputs * outputs for inputs, outputs in self.shape.linears.values())
        if self.w.quantization is None:
            packed = 0
        packed_bytes = packed * PACKED_BYTES[self.w.quantization] if self.w.quantization else 0.0
        return packed_bytes + (self.shape.parameters - packed) * self.weight_bytes

    def _dequantized(self) -> float:
        """The largest matrix unpacked, and the one before it: bitsandbytes multiplies in half precision."""
        if self.w.quantization is None:
            return 0.0
        return 2.0 * 2 * max(inputs * outputs for inputs, outputs in self.shape.linears.values())

    def _lora_parameters(self) -> int:
        sizes = sum(inputs + outputs for inputs, outputs in self.adapted.values())
        return self.shape.layers * self.w.lora_r * sizes

    def _optimizer_states(self) -> float:
        name = self.w.optim
        if name == "adafactor":
            # a row and a column instead of a matrix; transformers gives it no momentum
            return 0.02 * self.trained
        if name in ("sgd", "lomo"):
            return 0.0
        if "8bit" in name:
            # the Trainer has bitsandbytes keep the embedding's states in float32
            embedding = self.shape.embedding if self.trains_embedding and "torch" not in name else 0
            return _EIGHT_BIT_STATES.get(name, 2) * (self.trained + 3 * embedding)
        if "4bit" in name:
            return 1.0 * self.trained
        if name in _FLOAT32_STATES:
            return 4.0 * _FLOAT32_STATES[name] * self.trained
        return (1 if name in ("adagrad", "rmsprop") else 2) * self.gradients

    def _step_temporaries(self) -> float:
        if self.w.optim in _FOREACH:
            return self.gradients
        # of the largest matrix: its update and its square, in float32
        return 8.0 * self.shape.embedding if self.w.optim == "adafactor" and self.trains_embedding else 0.0

    def _layer(self) -> float:
        """Bytes that autograd saves for one token in one layer."""
        h, f = self.shape.hidden, self.shape.ffn
        c, residual = self.compute_bytes, self.weight_bytes
        attention = c * (2 * self.shape.query + 2 * self.shape.key_value) + 4 * self.shape.heads
        norms = 2 * 4 * h
        inner = 3 if self.shape.gated else 2
        if self.full:
            norms += 2 * residual * h
            # autocast copies a float32 input once per matrix; in one precision the matrices share theirs
            inputs = (3 + (2 if self.shape.gated else 1)) * 2 * h if self.casts else 2 * c * h
            mlp = c * (inner + 1) * f
        else:
            width = 2 if self.amp else 4
            mask = 1 if self.w.lora_dropout else 0
            inputs = sum((width + mask) * size + width * self.w.lora_r for size, _ in self.adapted.values())
            mlp = c * inner * f
        scores = 6 * self.shape.heads * self.w.sequence_length if self.w.attention == "eager" else 0
        return norms + inputs + attention + mlp + scores

    def _kept_activations(self) -> float:
        if self.w.gradient_checkpointing:
            return self.tokens * self.shape.layers * self.shape.hidden * self.weight_bytes
        return self.tokens * self.shape.layers * self._layer()

    def _working_set(self) -> float:
        """One layer in the backward pass: recomputed activations and the gradients that flow through it."""
        h, f, q = self.shape.hidden, self.shape.ffn, self.shape.query
        flowing = self.compute_bytes * (2 * f + q) + self.weight_bytes * 2 * h
        return self.tokens * (flowing + (self._layer() if self.w.gradient_checkpointing else 0.0))

    def _head(self, *, loss: bool) -> float:
        h, vocab, half = self.shape.hidden, self.shape.vocab, self.compute_bytes
        hidden = self.tokens * h * self.weight_bytes
        if self.head == "none":
            return hidden
        if self.head == "full":
            return self.tokens * vocab * LOGIT_BYTES + hidden
        width = min(vocab, TILE_VOCAB)
        tile = min(self.tokens, TILE_TOKENS) * width * half + (width * h * half if self.casts else 0)
        if loss:
            return tile + hidden
        gradient = self.tokens * h * (4 + self.weight_bytes)
        # accumulated in float32, then turned into the weight's dtype
        weight = vocab * h * (4 + (2 if self.weight_bytes == 2 else 0)) if self.trains_head else 0
        return tile + hidden + gradient + weight

    def _generation(self) -> tuple[float, float]:
        rows = self.w.generation_batch_size
        if rows is None:
            rows = self.w.per_device_train_batch_size * self.w.gradient_accumulation_steps
        # rotary embedding leaves the keys in the residual's precision
        per_token = self.shape.key_value * (self.weight_bytes + self.compute_bytes)
        # a layer's cache is copied whenever a token is added
        cache = rows * self.w.sequence_length * per_token * (self.shape.layers + 1)
        return cache, rows * self.shape.vocab * 4 * SAMPLING_COPIES
