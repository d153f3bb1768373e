"""Seconds of each part of a run, in one of three cases: fast, expected or slow.

A step takes as long as the slowest of its computation, reading the weights and launching kernels, plus what is not
overlapped: casting or dequantizing weights, communication between GPUs, the optimizer. The computation is the
arithmetic of the matrix products and the memory traffic between them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hfjobs_trainer.planning.arguments.strategies import SHARDS_WEIGHTS
from hfjobs_trainer.planning.duration.amounts import Amounts, Generation
from hfjobs_trainer.planning.hardware.gpus import Gpu, Tuning

Cases = tuple[float, float, float]
"""A constant of the model in the three cases: fast, expected, slow."""

FAST, EXPECTED, SLOW = range(3)

# Seconds to launch the kernels of one pass through one layer. LoRA: 24 layers of 256 tokens in 125 ms with
# checkpointing (Qwen README, A100), 28 layers in 119 ms without (PEFT's method comparison, L40S). QLoRA: 175 ms (Qwen
# README). All weights: assumed, no published run is short enough to show it; an adapter's products fall away.
LAUNCH: Mapping[Tuning, Cases] = {
    "full": (0.0004, 0.0009, 0.0018),
    "lora": (0.0010, 0.0017, 0.0024),
    "qlora": (0.0013, 0.0024, 0.0045),
}
# How many times longer that takes if weights are gathered for each layer. ZeRO-3: 24 layers in 275 ms, all weights
# trained (Qwen README, one A100); FSDP: assumed.
SHARDED_LAUNCH: Mapping[str, float] = {"zero3": 4.2, "fsdp1": 2.0, "fsdp2": 2.0}
# Share of the peak bandwidth of its memory that a GPU reaches: assumed.
MEMORY_SHARE: Cases = (0.85, 0.7, 0.5)
# The same between matrix products, where whole tensors are read and written one after the other: assumed.
STREAM_SHARE: Cases = (0.95, 0.85, 0.7)
# Share of a link's peak that collectives reach. PCIe: Answer.AI's FSDP on two RTX 3090 and two RTX 4090, 8% to 49%.
# NVLink: Qwen README's ZeRO-3 of a 72B model on four A100, 45%.
LINK_SHARE: Mapping[str, Cases] = {"pcie": (0.5, 0.15, 0.08), "nvlink": (0.7, 0.45, 0.3)}
# Between machines, 10^9 bytes per second for each machine: assumed, since the network is not documented; 400, 100, 10
# Gbit/s.
NODE_LINK_GB_S: Cases = (50.0, 12.5, 1.25)
# Share of the computation that communication between GPUs overlaps with: assumed; none of it in one of Answer.AI's
# runs, all of it in another.
OVERLAP: Cases = (1.0, 0.5, 0.0)
# float32 arithmetic compared with half precision on tensor cores (NVIDIA A100 datasheet: 19.5 of 312 TFLOPS; T4
# datasheet: 8.1 of 65).
FLOAT32_SHARE: Cases = (1 / 8, 1 / 12, 1 / 16)
# Share of a dense model's utilization that experts reach, with their small products and their routing: assumed.
EXPERT_SHARE: Cases = (0.8, 0.5, 0.25)

# Launching a pass in transformers' ``generate``, as a multiple of LAUNCH: sampling and the cache come on top. TRL's
# notebooks with QLoRA: 8 completions of 256 tokens of a 7B model in 25 s to 33 s on A100s, 94 s on a T4.
GENERATE_LAUNCH: Cases = (1.0, 1.3, 2.0)
# Seconds per layer and token in vLLM, whose kernels are launched as one graph: assumed. Sequences that it decodes at
# once: its default for max_num_seqs.
VLLM_LAUNCH: Cases = (0.00005, 0.0001, 0.0003)
VLLM_SEQUENCES = 256
# Seconds until vLLM has loaded and compiled, its larger image included: assumed.
VLLM_START: Cases = (60.0, 180.0, 480.0)

# Seconds to start a machine with its image, and to install torch and its CUDA libraries: assumed.
MACHINE_START: Cases = (15.0, 60.0, 300.0)
PACKAGES: Cases = (40.0, 90.0, 240.0)
# Bytes per second from the Hub, to the Hub, and to the checkpoints' storage: assumed.
DOWNLOAD: Cases = (1.0e9, 0.3e9, 0.06e9)
UPLOAD: Cases = (0.4e9, 0.1e9, 0.02e9)
WRITE: Cases = (1.5e9, 0.4e9, 0.1e9)
# Tokens per second that one process renders and tokenizes: assumed.
TOKENIZE: Cases = (800_000.0, 250_000.0, 60_000.0)
# Share of a packed sequence that is filled, since whole rows leave a remainder: assumed.
FILLED: Cases = (1.0, 0.97, 0.9)

USUAL_VCPU = 8
"""Virtual CPU cores of a machine if unknown."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The machine, and how the run uses it.

    Attributes:
        gpu: The kind of GPU.
        num_gpus: GPUs that train, over all machines.
        nodes: Machines that train.
        strategy: ``"ddp"`` or ``"single"`` (a copy on each GPU), ``"fsdp1"``, ``"fsdp2"``, ``"zero1"``, ``"zero2"``,
            ``"zero3"``; ``"user"`` counts as a copy on each.
        per_device_train_batch_size, gradient_accumulation_steps, gradient_checkpointing: As in TRL's config.
        vcpu: Virtual CPU cores of one machine.
        usd_per_hour: Price of all machines, a vLLM server's included, US dollars per hour.
        server_gpus: GPUs of the run's own vLLM server; 0 if the training GPUs generate the completions.
        vllm_tensor_parallel_size: GPUs that share one copy of the model in a vLLM next to training.
        chooses_saves: Whether checkpoints are written as the planner sees fit, not as ``Amounts.save_every`` says.
        save_multiple: Then, they are written at multiples of so many steps.
    """

    gpu: Gpu
    num_gpus: int = 1
    nodes: int = 1
    strategy: str = "ddp"
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = True
    vcpu: int = USUAL_VCPU
    usd_per_hour: float = 0.0
    server_gpus: int = 0
    vllm_tensor_parallel_size: int = 1
    chooses_saves: bool = False
    save_multiple: int = 1


class Pace:
    """One case of a run: its number of steps, and the seconds of each part.

    Attributes:
        steps: Optimizer steps.
        epochs: Epochs.
        tokens: Training tokens, without padding.
    """

    def __init__(self, amounts: Amounts, setup: Setup, case: int) -> None:
        costs, gpu, lengths = amounts.arithmetic, setup.gpu, amounts.lengths
        self.amounts, self.setup, self.case = amounts, setup, case
        share = gpu.utilisation[costs.tuning]
        reached = (share.high, share.expected, share.low)[case]
        if costs.experts:
            reached *= EXPERT_SHARE[case]
        if not amounts.half_precision:
            reached *= FLOAT32_SHARE[case]
        self.flops = reached * gpu.tflops * 1e12
        self.memory = MEMORY_SHARE[case] * gpu.bandwidth_gb_s * 1e9
        self.streamed = STREAM_SHARE[case] * gpu.bandwidth_gb_s * 1e9
        self.sharded = setup.strategy in SHARDS_WEIGHTS
        self.launch = LAUNCH[costs.tuning][case] * SHARDED_LAUNCH.get(setup.strategy, 1.0)
        mean = (lengths.mean.low, lengths.mean.expected, lengths.mean.high)[case]
        # tokens of one sequence of a batch: with padding, and without
        self.real, rows = mean, amounts.rows
        # sequences that one row becomes
        self.fraction = 1.0
        if amounts.packed and amounts.max_length is not None:
            self.width = amounts.max_length
            self.real = amounts.max_length * FILLED[case]
            self.fraction = mean / self.real
            rows = None if rows is None else rows * self.fraction
        elif amounts.padded:
            together = setup.per_device_train_batch_size * amounts.sequences
            if setup.gradient_accumulation_steps == 1:
                # all GPUs wait for the one with the longest row
                together *= setup.num_gpus
            longest = mean * lengths.longest_of(together)
            self.width = longest if lengths.limit is None else min(longest, lengths.limit)
        else:
            self.width = mean
        self.micro_batches = setup.gradient_accumulation_steps * amounts.passes.mini_batches
        self.examples = setup.per_device_train_batch_size * setup.num_gpus * self.micro_batches
        self.epochs, self.steps = self._steps(rows)
        # examples of a step: fewer than it could hold if there are not enough rows
        self.filled = float(self.examples)
        if rows is not None and amounts.max_steps is None:
            self.filled = min(self.filled, amounts.epochs * rows * amounts.examples_per_row / max(1, self.steps))
        self.tokens = self.steps * self.filled * self.real * amounts.sequences

    def _steps(self, rows: float | None) -> tuple[float, int]:
        """Epochs and optimizer steps, as transformers 5.23 counts them."""
        amounts = self.amounts
        if rows is None:
            return 1.0, amounts.max_steps or 0
        per_epoch = max(1, math.ceil(rows * amounts.examples_per_row / self.examples))
        if amounts.max_steps is not None:
            return amounts.max_steps / per_epoch, amounts.max_steps
        return amounts.epochs, math.ceil(amounts.epochs * per_epoch)

    def training(self) -> float:
        """Seconds of all optimizer steps."""
        amounts, setup, costs = self.amounts, self.setup, self.amounts.arithmetic
        share = self.filled / self.examples
        batch = setup.per_device_train_batch_size * amounts.sequences
        micro = self._pass(batch * share * self.width)
        optimizer = costs.optimizer_bytes / self.memory
        if setup.strategy.startswith(("fsdp", "zero")):
            optimizer /= setup.num_gpus
        # PPO updates the weights several times with the completions of one step
        updates = amounts.passes.trained * amounts.passes.mini_batches
        step = self.micro_batches * (micro + self._fetch(micro)) + updates * (self._exchange(micro) + optimizer)
        return self.steps * step

    def _pass(self, tokens: float) -> float:
        """Seconds of one batch on one GPU: its forward and backward passes, and those of other models."""
        amounts, costs, context = self.amounts, self.amounts.arithmetic, self.width
        recomputes = self.setup.gradient_checkpointing and amounts.recomputes
        trained, frozen = amounts.passes.trained, amounts.passes.frozen
        passes = trained * (3 if recomputes else 2) + frozen
        flops = trained * costs.training(context, recomputes=recomputes) + frozen * costs.forward(context)
        spent = max(
            # backward, an elementwise operation moves about as much as forward
            self._compute(tokens, flops, passes * costs.moved_bytes),
            passes * costs.read_bytes / self.memory,
            passes * costs.layers * self.launch,
        )
        spent += passes * costs.cast_bytes / self.memory
        if costs.other_layers:
            spent += max(
                self._compute(tokens, costs.others(context), costs.other_moved),
                costs.other_bytes / self.memory,
                costs.other_layers * self.launch,
            )
        return spent

    def _compute(self, tokens: float, flops: float, moved: float) -> float:
        """Seconds of arithmetic and of what lies between matrix products, both per token."""
        return tokens * (flops / self.flops + moved / self.streamed)

    def _fetch(self, hidden: float) -> float:
        """Seconds per batch to gather sharded weights, once forward, once backward.

        Only what does not overlap with ``hidden`` seconds of computation.
        """
        setup, costs = self.setup, self.amounts.arithmetic
        if not self.sharded or setup.num_gpus == 1:
            return 0.0
        gradients = costs.gradient_bytes if costs.tuning == "full" else 0.0
        others = (setup.num_gpus - 1) / setup.num_gpus
        sent = others * (2 * costs.link_bytes + gradients) / self._link()
        return max(0.0, sent - OVERLAP[self.case] * hidden)

    def _exchange(self, micro: float) -> float:
        """Seconds per step to reduce gradients that do not overlap with the last backward pass."""
        setup, costs = self.setup, self.amounts.arithmetic
        if self.sharded or setup.num_gpus == 1:
            return 0.0
        others = (setup.num_gpus - 1) / setup.num_gpus
        return max(0.0, 2 * others * costs.gradient_bytes / self._link() - OVERLAP[self.case] * micro)

    def _link(self) -> float:
        """Bytes per second that a GPU exchanges with the others."""
        setup = self.setup
        within = LINK_SHARE[setup.gpu.link][self.case] * setup.gpu.link_gb_s * 1e9
        return min(within, NODE_LINK_GB_S[self.case] * 1e9) if setup.nodes > 1 else within

    def generation(self) -> float:
        """Seconds of generation during training."""
        written = self.amounts.generation
        if written is None:
            return 0.0
        setup = self.setup
        together = written.steps_together or self.micro_batches
        at_once = setup.per_device_train_batch_size * together * max(1.0, written.answers)
        rounds = self.steps * self.micro_batches / together * min(1.0, written.answers)
        return rounds * self._answers(written, at_once)

    def _answers(self, written: Generation, rows: float) -> float:
        """Seconds to generate ``rows`` completions on one GPU, or on the server's GPUs for all that train."""
        prompt = (written.prompt.low, written.prompt.expected, written.prompt.high)[self.case]
        answer = (written.answer.low, written.answer.expected, written.answer.high)[self.case]
        costs, gpus = self.amounts.arithmetic, self.setup.vllm_tensor_parallel_size
        rows *= gpus
        if self.setup.server_gpus:
            rows, gpus = rows * self.setup.num_gpus, self.setup.server_gpus
        context = prompt + answer / 2
        reading = self._compute(rows * prompt, costs.forward(prompt), costs.moved_bytes) / gpus
        if written.turns > 1:
            # each turn begins with reading all that is there
            again = self._compute(rows * context, costs.forward(context), costs.moved_bytes) / gpus
            reading += (written.turns - 1) * again
        if written.vllm:
            decoded, launch = min(rows, VLLM_SEQUENCES), VLLM_LAUNCH[self.case]
            tokens = rows * answer / decoded
        else:
            # all wait for the longest, which among several is usually cut off
            decoded, launch = rows, self.launch * GENERATE_LAUNCH[self.case]
            tokens = answer if rows <= 1 or self.case == FAST else written.most
            # a turn may write as much as the whole completion, of which the rest is then cut off
            tokens *= (1.0, (1 + written.turns) / 2, written.turns)[self.case]
        moved = costs.read_bytes + costs.cast_bytes * (not written.vllm) + decoded * context * costs.cache_bytes
        each = max(
            costs.layers * launch,
            moved / (self.memory * gpus),
            self._compute(decoded, costs.forward(context), costs.moved_bytes) / gpus,
        )
        return reading + tokens * each

    def evaluation(self) -> float:
        """Seconds of all evaluations."""
        return (self._times(self.amounts.eval_every) + self.amounts.eval_first) * self.one_evaluation()

    def one_evaluation(self) -> float:
        """Seconds of one: a forward pass of the held-out rows; generation, if training generates."""
        amounts, setup = self.amounts, self.setup
        if not amounts.eval_rows:
            return 0.0
        batches = math.ceil(amounts.eval_rows * self.fraction / (amounts.eval_batch_size * setup.num_gpus))
        costs, tokens = amounts.arithmetic, amounts.eval_batch_size * amounts.sequences * self.width
        passes = 1.0 + amounts.passes.frozen
        flops = passes * costs.forward(self.width) + costs.others(self.width)
        each = max(
            self._compute(tokens, flops, passes * costs.moved_bytes + costs.other_moved),
            (passes * costs.layers + costs.other_layers) * self.launch,
        )
        each += passes * costs.cast_bytes / self.memory
        each += self._fetch(each) / 2
        if amounts.generation is not None:
            each += self._answers(amounts.generation, amounts.eval_batch_size * max(1.0, amounts.generation.answers))
        return batches * each

    def _times(self, every: float | None) -> float:
        """How often something happens that is due every so many steps, at a share of the run, or once per epoch."""
        if every is None:
            return math.ceil(self.epochs)
        return self.steps // self.interval(every) if every > 0 else 0

    def interval(self, every: float | None) -> float:
        """Optimizer steps from one time to the next of what is due so; all of them if it is due at the end only."""
        if every is None:
            return self.steps / max(1, math.ceil(self.epochs))
        if every <= 0:
            return self.steps
        return every if every >= 1 else max(1, math.ceil(self.steps * every))

    def checkpoints(self, every: float | None) -> float:
        """Seconds to write checkpoints every so many steps, as ``Amounts.save_every``; the last one included."""
        return (self._times(every) + 1) * self.save()

    def save(self) -> float:
        """Seconds to write one checkpoint to the disk."""
        return self.amounts.save_bytes / WRITE[self.case]

    def copy(self) -> float:
        """Seconds to copy one checkpoint out of the machine."""
        return self.amounts.save_bytes / UPLOAD[self.case]

    def push(self) -> float:
        """Seconds of the final push, for which the run waits."""
        return self.amounts.push_bytes / UPLOAD[self.case]

    def start(self) -> float:
        """Seconds until the models are loaded: machine, image, packages, downloads, vLLM."""
        waiting = MACHINE_START[self.case] + PACKAGES[self.case] + (VLLM_START[self.case] if self.amounts.vllm else 0.0)
        return waiting + self.amounts.download_bytes / DOWNLOAD[self.case]

    def data(self) -> float:
        """Seconds to render and tokenize the rows."""
        amounts = self.amounts
        tokens = (amounts.lengths.mean.low, amounts.lengths.mean.expected, amounts.lengths.mean.high)[self.case]
        processes = max(1, min(amounts.processes, self.setup.vcpu))
        return amounts.prepared_rows * amounts.sequences * tokens / (TOKENIZE[self.case] * processes)
