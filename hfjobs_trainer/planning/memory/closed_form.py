"""Memory of one GPU during training: a closed form over plain numbers.

The peak is the largest of a few moments of a step (end of the forward pass, backward pass through the head, through the
last layer, through the first, the optimizer's step, generation, evaluation); an estimate is what is held at that
moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hfjobs_trainer.planning.memory.estimate import GIB, MemoryEstimate
from hfjobs_trainer.planning.memory.layer import kept_products, saved_bytes, working_bytes
from hfjobs_trainer.planning.memory.sharding import Holding, spread
from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.planning.model.optimizers import is_paged, runs_unfused, state_bytes, step_bytes
from hfjobs_trainer.planning.model.shape import Shape, shape_of

__all__ = ["GIB", "MemoryEstimate", "Workload", "estimate_memory", "holding_of"]

# Tokens and vocabulary entries of one tile of the fused head (TRL 1.16: kernels/chunked_logprob.py, trainer/utils.py).
TILE_TOKENS, TILE_VOCAB = 4096, 32_768
# Copies of the next token's float32 logits that sampling holds: logits, processed, sorted, probabilities.
SAMPLING_COPIES = 4
# Memory of the CUDA context, and of NCCL's buffers with several GPUs: set to match published nvidia-smi figures.
CONTEXT_GIB, NCCL_GIB = 1.0, 0.4
# Scratch space of cuBLAS and of the kernels.
WORKSPACE_GIB = 0.1
# Share of the temporary memory of a step that the allocator cannot reuse.
FRAGMENTATION = 0.10
# The same under FSDP1, which frees on one stream what another one still uses: the median of what nvidia-smi showed
# beyond torch's own peak, the context and NCCL in 16 published LoRA and QLoRA runs (fms-acceleration:
# scripts/benchmarks/refs; 9% to 14% on one GPU). FSDP2 does not record streams (torchtitan: docs/fsdp.md), and 10% fits
# its published runs.
FSDP1_FRAGMENTATION = 0.25
# Bytes of a quantized weight with its share of the scales: one of 4 bytes for 64 weights, or of 8.25 bits if the scales
# are quantized themselves; of 8 bits, one for a whole row.
PACKED_BYTES = {"4bit": 0.5625, "4bit-double": 0.516, "8bit": 1.002}
# GPTQ: 4 bits with a scale and a zero point of half precision for each 128 weights; unpacking holds the weights as
# integers of 4 bytes, their scales, zero points and result in half precision (auto-gptq: nn_modules/qlinear), and
# autograd keeps the unpacked matrices of a layer.
GPTQ_BYTES, GPTQ_UNPACKING = 0.53, 10.0
# Saved tensors on the GPU while others are being offloaded to the host (TRL 1.16: models/activation_offloading.py,
# max_fwd_stash_size).
OFFLOAD_STASH = 5


class _Moment(NamedTuple):
    """Memory that is held at one moment only; bytes."""

    name: str
    gradients: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    kv_cache: float = 0.0
    buffers: float = 0.0
    cached: float = 0.0

    @property
    def total(self) -> float:
        return self.gradients + self.activations + self.logits + self.kv_cache + self.buffers

    @property
    def passing(self) -> float:
        """Temporary memory in varying sizes."""
        return self.activations + self.logits + self.kv_cache


def estimate_memory(workload: Workload, num_gpus: int = 1) -> MemoryEstimate | None:
    """Estimate the peak memory of one GPU; ``None`` if a size is unknown.

    With a copy of the model on every GPU (DDP), more GPUs never need less memory each; the other strategies shard.
    Images are not modeled.

    Args:
        workload: The workload.
        num_gpus: GPUs of the run.
    """
    shape = shape_of(workload.model)
    return None if shape is None or workload.unknown else _Step(workload, shape, num_gpus).peak()


def holding_of(workload: Workload, num_gpus: int = 1) -> Holding | None:
    """What one GPU holds throughout, and gathers; ``None`` as for ``estimate_memory``."""
    shape = shape_of(workload.model)
    return None if shape is None or workload.unknown else _Step(workload, shape, num_gpus).held


class _Step:
    """The byte counts of one training step."""

    def __init__(self, workload: Workload, shape: Shape, num_gpus: int) -> None:
        self.w, self.shape, self.num_gpus = workload, shape, num_gpus
        self.full = workload.tuning == "full"
        self.weight_bytes = 4 if workload.dtype == "float32" else 2
        amp = workload.mixed_precision is not None
        self.compute = 2 if amp else self.weight_bytes
        self.sharded = workload.strategy != "ddp" and (num_gpus > 1 or workload.strategy.startswith("zero"))
        # weights that are gathered in half precision give a residual stream of half precision
        self.residual = self.seen = self.compute if self.sharded else self.weight_bytes
        # autocast turns float32 weights into half-precision copies for every matrix product
        self.casts = amp and self.weight_bytes == 4 and not self.sharded
        rows = workload.rows_per_example
        self.tokens = rows * workload.per_device_train_batch_size * workload.sequence_length
        self.eval_tokens = rows * workload.eval_batch_size * workload.sequence_length
        self.head = workload.head
        trained = workload.adapter
        self.adapted = trained.linears if trained else dict[str, tuple[int, int]]()
        self.expert_lora = trained is not None and trained.experts
        kept = [name for name in workload.modules_to_save if name in ("embed_tokens", "lm_head")]
        saved_modules = trained.whole if trained else 0
        self.trains_head = self.full or "lm_head" in kept
        self.trains_embedding = self.full or "embed_tokens" in kept
        # TRL leaves PEFT's autocast_adapter_dtype on: adapters are float32, other trained modules as loaded; on
        # quantized weights it casts everything that is trained to bfloat16
        quantized = workload.quantization is not None
        upcasts = amp and workload.stack.upcasts and self._is_upcast()
        self.trained_bytes = 4 if upcasts else self.weight_bytes
        self.adapter_bytes = 4 if upcasts else workload.stack.adapter_bytes or (2 if quantized else 4)
        # gathered with its layer, an adapter is in half precision; FSDP1 gathers each of its matrices by itself, too
        # late for the cast of its input
        apart = not self.sharded or workload.strategy == "fsdp1"
        self.adapter_seen = self.adapter_bytes if apart else self.compute
        lora = trained.parameters if trained else 0
        beside = 2 if quantized and not upcasts else self.trained_bytes
        adapter = float(self.adapter_bytes * lora + beside * saved_modules)
        self.trained = shape.parameters if self.full else lora + saved_modules
        # what is not quantized and needs no cast
        self.packed = shape.layers * sum(i * o for i, o in shape.linears.values()) if quantized else 0
        if quantized and workload.stack.quantizes_experts:
            self.packed += shape.layers * shape.expert_weights
        # if the configuration is incomplete, its matrices may add up to more than the total
        self.packed = min(self.packed, shape.body)
        self.layer = saved_bytes(
            workload,
            shape,
            self.adapted,
            compute=self.compute,
            residual=self.residual,
            adapter=self.adapter_seen,
        )
        self.working = working_bytes(shape, compute=self.compute, residual=self.residual)
        self.held = self._holding(adapter)

    def _is_upcast(self) -> bool:
        """Whether accelerate turns trained weights into float32: FSDP2 leaves a model with 4-bit weights as it is."""
        four_bits = self.w.quantization is not None and self.w.quantization != "8bit"
        return self.sharded and (self.w.strategy == "fsdp1" or (self.w.strategy == "fsdp2" and not four_bits))

    def _holding(self, adapter: float) -> Holding:
        """Memory that one GPU holds throughout."""
        w, shape = self.w, self.shape
        frozen = self._weights()
        weights = float(self.trained_bytes * shape.parameters) if self.full else frozen
        gradients = weights if self.full else adapter
        zero = self.sharded and w.strategy.startswith("zero")
        # DeepSpeed's states are those of its float32 copy
        like = 4.0 * self.trained if zero and self.compute == 2 else gradients
        embedding = shape.embedding if self.trains_embedding else 0
        states = state_bytes(w.optim, trained=self.trained, gradients=like, embedding=embedding)
        stepping = step_bytes(w.optim, gradients=gradients, embedding=embedding, copies=w.stack.adamw_temporaries)
        if w.stack.frees_gradients:
            gradients, stepping = min(gradients, float(self.weight_bytes * shape.embedding)), 0.0
        whole = Holding(
            weights=weights,
            adapter=adapter,
            optimizer_states=states,
            reference_model=frozen if w.reference_model else 0.0,
            gradients=gradients,
            stepping=stepping,
        )
        held = self._spread(whole) if self.sharded else whole
        # ZeRO-3 shards frozen models too; FSDP does not (accelerate: prepare_model)
        parts = self.num_gpus if self.sharded and w.strategy == "zero3" else 1
        return replace(held, reference_model=held.reference_model + w.beside_bytes / parts)

    def _spread(self, whole: Holding) -> Holding:
        """One GPU's shard of it."""
        w = self.w
        return spread(
            whole,
            self.shape,
            w.strategy,
            self.num_gpus,
            frozen=not self.full,
            width=self.compute,
            trained=float(self.trained),
            offload=w.offload_weights,
            steps_on_host=w.offload_optimizer,
            reshards=w.reshards,
            synced=w.sync_each_batch or w.gradient_accumulation_steps == 1,
        )

    def peak(self) -> MemoryEstimate:
        """The estimate at the peak."""
        held, w, several = self.held, self.w, self.num_gpus > 1
        moments = self.moments()
        worst = max(moments, key=_total)
        passing = max(moment.passing for moment in moments)
        copies = held.gradients if not self.sharded else 0.0
        return MemoryEstimate(
            weights=held.weights,
            adapter=held.adapter,
            gradients=worst.gradients,
            optimizer_states=held.optimizer_states,
            activations=worst.activations,
            logits=worst.logits,
            reference_model=held.reference_model,
            kv_cache=worst.kv_cache,
            buffers=worst.buffers + WORKSPACE_GIB * GIB + (copies if several else 0.0),
            # the allocator keeps what any moment needed, whichever is the peak
            fragmentation=passing * (FSDP1_FRAGMENTATION if self.sharded and w.strategy == "fsdp1" else FRAGMENTATION),
            overhead=(CONTEXT_GIB + (NCCL_GIB if several or self.sharded else 0)) * GIB,
            moment=worst.name,
            num_gpus=self.num_gpus,
            strategy=w.strategy,
            ddp_bytes=0.0 if several else copies + NCCL_GIB * GIB,
            cached_bytes=self._cached(moments, worst),
            paged_bytes=held.optimizer_states if is_paged(w.optim) else 0.0,
            gpu_fraction=w.vllm_gpu_memory_fraction,
            assumed=(*self.shape.assumed, *w.assumed),
        )

    def _cached(self, moments: Sequence[_Moment], worst: _Moment) -> float:
        """Memory that the allocator keeps free at the worst moment.

        In the first step an optimizer's new states take what the logits left, and its temporaries lie in pieces of the
        size of a matrix, in which no later logits fit. DeepSpeed makes the states before.
        """
        if not runs_unfused(self.w.optim) or self.w.strategy.startswith("zero"):
            return worst.cached
        loss = moments[0]
        return max(worst.cached, self._optimizer_step().total + loss.logits + loss.cached - worst.total)

    def _optimizer_step(self) -> _Moment:
        return _Moment("the optimizer's step", self.held.gradients, buffers=self.held.stepping)

    def moments(self) -> list[_Moment]:
        """Memory at each moment that can be the peak; in between it is linear."""
        w, shape, held = self.w, self.shape, self.held
        layers = shape.layers
        all_copies = 2.0 * max(0, shape.body - self.packed - layers * shape.expert_weights) if self.casts else 0.0
        layer_copies = all_copies / layers
        kept = self._kept_activations()
        working = self.tokens * (self.working + (self.layer if w.gradient_checkpointing else 0.0))
        if self.expert_lora:
            # the sum of experts and adapters, its gradient, and that of the adapters' product (PEFT: ParamWrapper)
            working += shape.expert_weights * (2 * self.compute + self.adapter_bytes)
            kept += 0.0 if w.gradient_checkpointing else float(layers * shape.expert_weights * self.compute)
        waiting = 0.0
        if w.gradient_accumulation_steps > 1 and not w.stack.frees_gradients:
            waiting = held.gradients if held.unsynced is None else held.unsynced
        parts = held.gradients / max(1.0, self.trained_bytes * self.trained)
        ends = shape.embedding * self.trained_bytes * parts
        head_gradient = ends if self.trains_head and self.head != "none" else 0.0
        # a frozen matrix is cast in each layer, a trained one is cached until the end of the forward pass
        copies = all_copies if not w.gradient_checkpointing or self.full else layer_copies
        backward_copies = layer_copies if w.gradient_checkpointing else all_copies
        embedding = ends if self.trains_embedding else 0.0
        last = max(waiting, min(held.gradients, head_gradient))
        around = held.gathered + self._dequantized()
        backward = around + held.reducing
        # autocast keeps half-precision copies of float32 adapters to the end of the forward pass
        if not self.full and self.compute == 2 and self.adapter_bytes == 4 and not self.sharded:
            copies += held.adapter / 2
        cached = self.tokens * shape.vocab * w.stack.logit_cached if self.head == "full" else 0.0
        found = [
            _Moment("the loss", waiting, kept, self._head(self.tokens, loss=True), 0.0, copies + around, cached),
            _Moment(
                "the head's backward pass",
                waiting,
                kept,
                self._head(self.tokens, loss=False),
                0.0,
                backward_copies + around,
            ),
            _Moment("the last layer's backward pass", last, kept + working, 0.0, 0.0, backward_copies + backward),
            _Moment(
                "the end of the backward pass",
                # the first units are sharded again while the last ones are still whole
                max(held.gradients, waiting),
                working + kept * (2 if w.stack.keeps_inputs else 1 / layers),
                0.0,
                0.0,
                layer_copies + embedding + backward,
            ),
            self._optimizer_step(),
        ]
        if w.generates and not w.vllm_gpu_memory_fraction:
            cache, sampling = self._generation()
            gathered = all_copies if self.full else layer_copies
            found.append(_Moment("generation", 0.0, 0.0, sampling, cache, gathered + around))
        if w.stack.loads_whole and self.sharded:
            found.append(_Moment("loading", buffers=self._weights() - held.optimizer_states))
        if self.eval_tokens:
            passing = self.eval_tokens * (self.working + self.compute * shape.active_ffn)
            logits = self._head(self.eval_tokens, loss=True)
            found.append(_Moment("evaluation", 0.0, passing, logits, 0.0, layer_copies + around))
        return found

    def _weights(self) -> float:
        bits = PACKED_BYTES[self.w.quantization] if self.w.quantization else 0.0
        if self.w.stack.gptq:
            bits = GPTQ_BYTES
        return self.packed * bits + (self.shape.parameters - self.packed) * self.weight_bytes

    def _dequantized(self) -> float:
        """The largest matrix unpacked, and the one before it: bitsandbytes multiplies in half precision."""
        if self.w.quantization is None:
            return 0.0
        largest = max(inputs * outputs for inputs, outputs in self.shape.linears.values())
        if self.w.stack.gptq:
            return 2.0 * self.packed / self.shape.layers + GPTQ_UNPACKING * largest
        return 2.0 * 2 * largest

    def _kept_activations(self) -> float:
        """Memory kept for the backward pass: all that autograd saved, or the inputs of the layers."""
        w, layers = self.w, self.shape.layers
        if w.activation_offloading:
            layers = min(layers, OFFLOAD_STASH if w.gradient_checkpointing else 1)
        if not w.gradient_checkpointing:
            return self.tokens * layers * self.layer
        layer = self.shape.hidden * self.residual
        if w.stack.selective:
            return self.tokens * layers * (layer + kept_products(self.shape, self.compute))
        return float(self.tokens * layers * layer)

    def _head(self, tokens: int, *, loss: bool) -> float:
        """Memory of the head for ``tokens`` tokens: in the loss's forward pass, or in its backward pass."""
        h, vocab, half = self.shape.hidden, self.shape.vocab, self.compute
        hidden = float(tokens * h * self.residual)
        if self.head == "none":
            return hidden
        if self.head == "full":
            return tokens * vocab * self.w.stack.logit_bytes + hidden
        width = vocab if self.w.stack.casts_head else min(vocab, TILE_VOCAB)
        tile = min(tokens, TILE_TOKENS) * min(vocab, TILE_VOCAB) * half + (width * h * half if self.casts else 0)
        if loss:
            return tile + hidden
        gradient = tokens * h * (4 + self.residual)
        # accumulated in float32, then turned into the weight's dtype
        weight = vocab * h * (4 + (2 if self.seen == 2 else 0)) if self.trains_head else 0
        return tile + hidden + gradient + weight

    def _generation(self) -> tuple[float, float]:
        rows = self.w.generation_batch_size
        if rows is None:
            rows = self.w.per_device_train_batch_size * self.w.gradient_accumulation_steps
        # rotary embedding leaves the keys in the residual's precision
        per_token = self.shape.key_value * (self.residual + self.compute)
        # a layer's cache is copied whenever a token is added
        cache = float(rows * self.w.sequence_length * per_token * (self.shape.layers + 1))
        return cache, float(rows * self.shape.vocab * 4 * SAMPLING_COPIES)


def _total(moment: _Moment) -> float:
    return moment.total
