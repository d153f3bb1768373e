"""Simulate one training step on fake tensors at two depths, and extrapolate to the full one."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hfjobs_trainer.simulating.allocator import replay
from hfjobs_trainer.simulating.kernels import cuda_paths
from hfjobs_trainer.simulating.model import (
    PARAMETER_TOLERANCE,
    Models,
    UnsupportedError,
    build_models,
    config_of,
    count_parameters,
    make_fake,
    period_of,
)
from hfjobs_trainer.simulating.optimizers import make_optimizer
from hfjobs_trainer.simulating.request import Request
from hfjobs_trainer.simulating.sharded import group_of, resizes_on, shard, sync_gradients, unreduced
from hfjobs_trainer.simulating.steps import autocast_forward, compute_loss, make_batch
from hfjobs_trainer.simulating.tape import BLOCK, Tape, local

# Norm to which the gradients are clipped, transformers' default.
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """The memory of a step, bytes.

    Attributes:
        layers: Decoder layers.
        static: Held throughout: ``weights``, ``adapter``, ``optimizer_states``, ``reference_model``.
        peaks: The most bytes within each moment of the step, static parts included.
        gradients: Gradients among it.
        unusable: What the allocator needs of the GPU beyond that, because it is between the blocks.
        cached: What it takes beyond the highest of both, and frees before a request fails.
        parameters: Parameters of the model, without adapters.
    """

    layers: int
    static: dict[str, float]
    peaks: dict[str, float]
    gradients: dict[str, float]
    unusable: dict[str, float]
    cached: float
    parameters: float


def simulate(request: Request) -> dict[str, Any]:
    """The peak of one GPU, by moment of the step.

    Returns:
        The fields of ``Measured`` at the model's depth, the ``depths`` that were run, and the ``seconds`` that it took.

    Raises:
        UnsupportedError: The run cannot be simulated.
    """
    started = time.monotonic()
    config = config_of(request.model)
    depth = int(config.num_hidden_layers)
    period = period_of(config)
    low = max(2, period)
    depths = [depth] if depth <= 2 * low else [low, 2 * low]
    runs = [measure(request, layers, period) for layers in depths]
    found = runs[0] if len(runs) == 1 else extrapolate(runs[0], runs[1], depth)
    _check_parameters(request, found.parameters)
    needed = max(found.peaks[name] + found.unusable.get(name, 0.0) for name in found.peaks)
    return {
        "layers": found.layers,
        "static": found.static,
        "peaks": found.peaks,
        "gradients": found.gradients,
        "needed": needed,
        "reserved": needed + found.cached,
        "parameters": round(found.parameters),
        "depths": depths,
        "seconds": round(time.monotonic() - started, 2),
    }


def extrapolate(low: Measured, high: Measured, layers: int) -> Measured:
    """The memory at another depth, linear in the number of layers for each moment.

    What the allocator wastes does not grow with depth: with 16 layers it is the same as with 4, to 5% of the peak.
    """
    reach = (layers - low.layers) / (high.layers - low.layers)

    def at(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
        # the layers between the first and the last
        shared = [name for name in first if name in second]
        return {name: first[name] + reach * (second[name] - first[name]) for name in shared}

    return Measured(
        layers,
        at(low.static, high.static),
        at(low.peaks, high.peaks),
        at(low.gradients, high.gradients),
        high.unusable,
        high.cached,
        low.parameters + reach * (high.parameters - low.parameters),
    )


def measure(request: Request, layers: int, period: int = 1) -> Measured:
    """Run one step of a model of this depth.

    Args:
        request: The run.
        layers: Decoder layers.
        period: Layers after which their kinds repeat.
    """
    config = config_of(request.model, layers)
    parameters = _count(config)
    models = build_models(request, config)
    several = group_of(request.ranks) if request.strategy is not None else nullcontext()
    with several as mesh, FakeTensorMode(), cuda_paths(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _run(request, models, layers, period, parameters, mesh)
        except UnsupportedError:
            raise
        except Exception as error:  # an operator without a fake implementation, a shape that depends on data
            raise UnsupportedError(
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error


def _count(config: Any) -> int:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return count_parameters(AutoModelForCausalLM.from_config(config))


def _check_parameters(request: Request, built: float) -> None:
    """Raise if the class, built from these numbers, does not match the model."""
    known = request.num_parameters
    if known is not None and abs(built - known) > PARAMETER_TOLERANCE * known:
        raise UnsupportedError(
            f"the class of {request.model.get('model_type')} with these numbers has {built / 1e9:.3f} billion"
            f" parameters, the model {known / 1e9:.3f} billion"
        )


def _run(request: Request, models: Models, layers: int, period: int, parameters: int, mesh: Any) -> Measured:
    make_fake(models.trained, models.reference)
    if mesh is not None:
        shard(models.trained, models.reference, request, mesh)
    tape = Tape()
    # the optimizer works on what this rank holds, which is cheaper to follow than sharded tensors
    stepped = {own: nn.Parameter(local(own)) if mesh is not None else own for own in models.trainable}
    optimizer = make_optimizer(request.optim, models.trained, stepped, request.adamw_temporaries)
    _make_states(optimizer, list(stepped.values()))
    batch = make_batch(request)
    kept = _kept(models)
    states = [
        value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)
    ]
    for group in (*kept.values(), states, batch.values()):
        tape.hold(group)
    static = {name: _bytes(tensors) for name, tensors in kept.items()} | {"optimizer_states": _bytes(states)}
    for model in (models.trained, models.reference):
        # accelerate leaves the precision to FSDP2's own policy
        if model is not None and mesh is None:
            autocast_forward(model, request.mixed_precision)
    state = _Moments(tape, layers, period)
    state.watch(models.layers)
    inputs = list[torch.Tensor]()
    if request.keeps_inputs:
        _keep_inputs(models.layers, tape, inputs)
    passes = min(2, request.gradient_accumulation_steps)
    gradients = set[int]()
    with tape, resizes_on(tape) if mesh is not None else nullcontext():
        for number in range(passes):
            # of several passes only the last counts, which starts with gradients
            state.prefix = "" if number == passes - 1 else "earlier "
            if mesh is not None:
                sync_gradients(models.trained, request.sync_each_batch or number == passes - 1)
            state.begin("forward")
            loss = compute_loss(request, models, batch, state.begin)
            state.begin("backward")
            tape.backward(loss)
            del loss
            inputs.clear()
            if mesh is not None:
                gradients |= tape.numbers(unreduced(models.trained))
        gradients |= tape.numbers(parameter.grad for parameter in models.trainable)
        if mesh is not None:
            for own, each in stepped.items():
                each.grad = None if own.grad is None else local(own.grad)
                own.grad = None
        state.begin("step")
        torch.nn.utils.clip_grad_norm_(list(stepped.values()), MAX_GRAD_NORM, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
    found = {name: peak for name, peak in tape.peaks().items() if _is_end(name)}
    reserved, needed = replay(tape.events, tape.marks)
    return Measured(
        layers,
        static,
        {name: float(size) for name, (size, _) in found.items()},
        {name: float(tape.alive(gradients, count)) for name, (_, count) in found.items()},
        {name: float(max(0, needed.get(name, 0) - size)) for name, (size, _) in found.items()},
        float(reserved - max(needed.get(name, size) for name, (size, _) in found.items())),
        parameters,
    )


def _is_end(name: str) -> bool:
    """Whether a moment is of the first or last layers and of the last pass."""
    return bool(name) and "middle" not in name and "earlier" not in name


class _Moments:
    """Tells the tape where the step is."""

    def __init__(self, tape: Tape, layers: int, period: int) -> None:
        self.tape, self.layers, self.period = tape, layers, period
        self.phase, self.prefix = "forward", ""

    def begin(self, phase: str) -> None:
        self.phase = phase
        self.tape.mark(self.prefix + phase)

    def watch(self, layers: nn.ModuleList) -> None:
        for index, layer in enumerate(layers):
            layer.register_forward_pre_hook(self._before(index))
            layer.register_forward_hook(self._after(index))

    def _place(self, index: int) -> str:
        if index < self.period:
            return "first"
        return "last" if index >= self.layers - self.period else "middle"

    def _before(self, index: int) -> Callable[..., None]:
        def mark(module: nn.Module, inputs: object) -> None:
            if not self.tape.in_backward:
                self.tape.mark(f"{self.prefix}{self.phase}, {self._place(index)} layer")

        return mark

    def _after(self, index: int) -> Callable[..., None]:
        prefix_of = self

        def mark(module: nn.Module, inputs: object, output: Any) -> None:
            if self.tape.in_backward:
                return
            tensor = output[0] if isinstance(output, tuple) else output
            if tensor.requires_grad:
                name = f"{prefix_of.prefix}backward, {self._place(index)} layer"
                tensor.register_hook(lambda gradient: self.tape.mark(name))
            if index == self.layers - 1:
                self.tape.mark(f"{self.prefix}{self.phase}, head")

        return mark


def _keep_inputs(layers: nn.ModuleList, tape: Tape, kept: list[torch.Tensor]) -> None:
    """Hold each layer's input, and its gradient once it is there."""

    def hold_gradient(gradient: torch.Tensor) -> None:
        # autograd does not add in place to what is held
        kept.append(torch.empty_like(gradient))

    def hold(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not tape.in_backward and inputs[0].requires_grad:
            kept.append(inputs[0])
            inputs[0].register_hook(hold_gradient)

    for layer in layers:
        layer.register_forward_pre_hook(hold)


def _make_states(optimizer: torch.optim.Optimizer, trainable: list[nn.Parameter]) -> None:
    """Make the optimizer create its states, as its first step does."""
    for parameter in trainable:
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def _kept(models: Models) -> dict[str, list[torch.Tensor]]:
    """What is held throughout, by component."""
    trained = set(map(id, models.trainable)) if hasattr(models.trained, "peft_config") else set[int]()
    own = [*models.trained.parameters(), *models.trained.buffers()]
    other = models.reference
    return {
        "weights": [tensor for tensor in own if id(tensor) not in trained],
        "adapter": [tensor for tensor in own if id(tensor) in trained],
        "reference_model": [*other.parameters(), *other.buffers()] if other is not None else [],
    }


def _bytes(tensors: list[torch.Tensor]) -> float:
    storages = [local(tensor).untyped_storage() for tensor in tensors]
    sizes = {storage._cdata: storage.nbytes() for storage in storages}
    return float(sum(-(-size // BLOCK) * BLOCK for size in sizes.values()))
