"""The optimizer of a run: torch's own, or the states of one that needs a GPU."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hfjobs_trainer.simulating.model import UnsupportedError

# States of 32 bits per parameter of bitsandbytes' optimizers (bitsandbytes 0.49: optim/).
_STATES = {
    **dict.fromkeys(("paged_adamw_32bit", "paged_adamw", "adamw_bnb"), 2),
    **dict.fromkeys(("lion_32bit", "paged_lion_32bit", "rmsprop_bnb", "rmsprop_bnb_32bit"), 1),
    **dict.fromkeys(("ademamix", "paged_ademamix_32bit"), 3),
}
# The same of 8 bits, with one float32 scale for 256 values (bitsandbytes 0.49: optim/optimizer.py, blockwise).
_STATES_8BIT = {
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"), 2),
    **dict.fromkeys(("lion_8bit", "paged_lion_8bit", "rmsprop_bnb_8bit"), 1),
    **dict.fromkeys(("ademamix_8bit", "paged_ademamix_8bit"), 3),
}
BLOCK_8BIT = 256
# torchao's 8-bit AdamW has the same (torchao 0.14: optim/adam.py, block_size).
_STATES_TORCHAO = {"adamw_torch_8bit": 256}
# Parameters of fewer values keep 32 bits (same file, min_8bit_size).
SMALLEST_8BIT = 4096


def make_optimizer(
    name: str, model: nn.Module, stepped: Mapping[nn.Parameter, nn.Parameter], temporaries: int = 1
) -> torch.optim.Optimizer:
    """The optimizer that transformers 5.23 makes for ``TrainingArguments.optim``.

    Args:
        name: The value of ``optim``.
        model: The trained model.
        stepped: Its trained parameters, and what the optimizer is given for each.
        temporaries: Values per trained parameter that unfused AdamW holds during its step: 2 in torch 2.0.

    Raises:
        UnsupportedError: The optimizer is not simulated.
    """
    trainable = list(stepped.values())
    # weight decay excludes norms and biases, so there are two groups
    groups: list[dict[str, Any]] = [
        {"params": [each for each in trainable if each.dim() > 1]},
        {"params": [each for each in trainable if each.dim() <= 1]},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "adamw_torch" and temporaries > 1:
        return _OlderAdamW(groups)
    if name in ("adamw_torch", "adamw_torch_fused"):
        fused = name.endswith("fused")
        return torch.optim.AdamW(groups, fused=fused, foreach=not fused)
    if name in _STATES_TORCHAO:
        return _Counted(groups, 2, set(), block=_STATES_TORCHAO[name])
    if name == "none":
        # its states and its step are counted elsewhere
        return _Counted(groups, 0, set())
    if name == "sgd":
        return torch.optim.SGD(groups, lr=1e-3, foreach=True)
    if name == "adagrad":
        return torch.optim.Adagrad(groups, foreach=True)
    if name == "rmsprop":
        return torch.optim.RMSprop(groups, foreach=True)
    if name == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(groups, lr=1e-3, scale_parameter=False, relative_step=False)
    if name in _STATES:
        return _Counted(groups, _STATES[name], set(trainable))
    if name in _STATES_8BIT:
        # the Trainer has the embeddings' states kept in 32 bits
        embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
        wide = {each for own, each in stepped.items() if own in embeddings}
        return _Counted(groups, _STATES_8BIT[name], wide)
    raise UnsupportedError(f"optim={name!r} is not simulated")


class _OlderAdamW(torch.optim.Optimizer):
    """AdamW as in torch 2.0: epsilon is not added in place (torch 2.0: optim/adamw.py)."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in trained:
                if not self.state[parameter]:
                    self.state[parameter] = {
                        "exp_avg": torch.empty_like(parameter),
                        "exp_avg_sq": torch.empty_like(parameter),
                    }
            roots = [self.state[parameter]["exp_avg_sq"].sqrt() for parameter in trained]
            sums = [root + 1e-8 for root in roots]
            del roots, sums


class _Counted(torch.optim.Optimizer):
    """Holds the states of bitsandbytes' optimizers, whose step works in place."""

    def __init__(self, groups: list[dict[str, Any]], states: int, wide: set[Any], block: int = BLOCK_8BIT) -> None:
        super().__init__(groups, {})
        self._count, self._wide, self._block = states, wide, block

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or self.state[parameter]:
                    continue
                kept = self.state[parameter]
                for index in range(self._count):
                    if parameter in self._wide or parameter.numel() < SMALLEST_8BIT:
                        kept[f"state{index}"] = torch.empty_like(parameter, dtype=torch.float32)
                    else:
                        kept[f"state{index}"] = torch.empty_like(parameter, dtype=torch.uint8)
                        kept[f"scale{index}"] = torch.empty(-(-parameter.numel() // self._block))
