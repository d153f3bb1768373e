"""One rank of a run under FSDP2: accelerate's own preparation, with collectives that move nothing."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from hfjobs_trainer.simulating.quantized import Linear4bit
from hfjobs_trainer.simulating.request import Request
from hfjobs_trainer.simulating.tape import Tape


@contextmanager
def group_of(ranks: int) -> Generator[Any]:
    """The mesh of a group of ``ranks`` processes, of which this one is the first and only one.

    To be entered outside of ``FakeTensorMode``: a mesh holds real numbers.
    """
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield init_device_mesh("cpu", (ranks,), mesh_dim_names=("dp_shard",))
    finally:
        distributed.destroy_process_group()


def shard(model: nn.Module, reference: nn.Module | None, request: Request, mesh: Any) -> None:
    """Shard the models in place, as accelerate 1.15 does with the trained one and TRL 1.16 with its reference.

    The trained model's layers, its embedding, and its last norm with the head are units of their own; the reference is
    one unit (``fsdp2_prepare_model``; TRL's ``prepare_fsdp``).
    """
    from accelerate import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model
    from trl.models.utils import prepare_fsdp

    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        reshard_after_forward=request.reshards,
        cpu_ram_efficient_loading=False,
        mixed_precision_policy=request.mixed_precision,
        # what accelerate knows by bitsandbytes' class, which a fake tensor cannot have
        ignored_modules=[module for module in model.modules() if isinstance(module, Linear4bit)] or None,
    )
    accelerator: Any = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        # only asked for whether to turn trained weights into float32, which it does not do beside packed ones
        mixed_precision=request.mixed_precision if request.mixed_precision and not request.quantization else "no",
        is_main_process=False,
        device=torch.device("cpu"),
        torch_device_mesh={("dp_shard",): mesh},
        parallelism_config=SimpleNamespace(fsdp_dim_names=("dp_shard",)),
    )
    sharded: list[Any] = [fsdp2_prepare_model(accelerator, model)]
    if reference is not None:
        sharded.append(prepare_fsdp(reference, accelerator))
    for each in sharded:
        # otherwise done by the first forward pass, which may lay out the shards anew
        each._get_fsdp_state()._lazy_init()


@contextmanager
def resizes_on(tape: Tape) -> Generator[None]:
    """Tell the tape of storages that FSDP empties and fills in place, which no operator shows."""
    from torch.distributed.fsdp._fully_shard import _fsdp_param

    def told(function: Any) -> Any:
        def call(tensor: torch.Tensor) -> None:
            function(tensor)
            tape.resize(tensor)

        return call

    with (
        patch.object(_fsdp_param, "alloc_storage", told(_fsdp_param.alloc_storage)),
        patch.object(_fsdp_param, "free_storage", told(_fsdp_param.free_storage)),
    ):
        yield


def sync_gradients(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass reduces gradients, as ``Accelerator.no_sync`` sets it."""
    sharded: Any = model
    sharded.set_requires_gradient_sync(now)


def unreduced(model: nn.Module) -> Iterable[torch.Tensor | None]:
    """Gradients of whole parameters that wait for a later batch to be reduced with."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            for group in module._get_fsdp_state()._fsdp_param_groups:
                for each in group.fsdp_params:
                    yield each.unsharded_accumulated_grad
                    yield each._unsharded_param.grad if hasattr(each, "_unsharded_param") else None
