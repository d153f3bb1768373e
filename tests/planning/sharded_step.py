"""What two processes hold and save in a training step under each strategy, as accelerate prepares it on the CPU.

Run as a file: it writes one JSON object per case to stdout. accelerate's launcher offers FSDP on accelerators alone,
so that its state is told here; everything else is its own ``prepare``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

SIZES: dict[str, int] = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}
RANKS, TOKENS, LORA_R = 2, 200, 4
CASES = [
    *((strategy, tuning, "bfloat16") for strategy in ("ddp", "fsdp1", "fsdp2") for tuning in ("full", "lora")),
    ("fsdp2", "full", "float32"),
]


def observe(strategy: str, tuning: str, dtype: str, layers: int) -> dict[str, Any]:
    """One step of a tiny model on this rank, and what it holds."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    model = build(tuning, getattr(torch, dtype), layers)
    accelerator = started(strategy)
    if tuning == "lora" and strategy == "fsdp1":
        from transformers.distributed.fsdp import update_fsdp_plugin_peft

        # as transformers' Trainer does for FSDP1
        update_fsdp_plugin_peft(model, accelerator)
    if strategy == "fsdp1":
        model = accelerator.prepare(model)
        optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad])
    else:
        optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad])
        model, optimizer = accelerator.prepare(model, optimizer)
    kept: dict[int, Any] = {}
    stream: set[str] = set()

    def pack(tensor: Any) -> Any:
        whole = local(tensor)
        if tensor.dim() > 1 and TOKENS in tensor.shape:
            kept[whole.untyped_storage().data_ptr()] = whole
        return tensor

    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] == "input_layernorm":
            module.register_forward_pre_hook(lambda _, inputs: stream.add(str(inputs[0].dtype)))
    ids = torch.randint(0, SIZES["vocab_size"], (1, TOKENS))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(input_ids=ids, labels=ids, use_cache=False)
    saved = sum(each.untyped_storage().nbytes() for each in kept.values())
    logits = str(output.logits.dtype)
    accelerator.backward(output.loss)
    trained = [each for each in model.parameters() if each.requires_grad]
    gradients = [local(each.grad) for each in trained if each.grad is not None]
    optimizer.step()
    torch_optimizer = getattr(optimizer, "optimizer", optimizer)
    states = [
        local(value)
        for state in torch_optimizer.state.values()
        for name, value in state.items()
        if name.startswith("exp_avg")
    ]
    shards = [local(each) for each in trained]
    return {
        "weights": size([local(each) for each in model.parameters()]),
        "gradients": size(gradients),
        "states": size(states),
        "saved": saved,
        "trained_dtype": dtypes(shards),
        "gradient_dtype": dtypes(gradients),
        "state_dtype": dtypes(states),
        "residual_dtype": sorted(stream),
        "logits_dtype": logits,
    }


def build(tuning: str, dtype: Any, layers: int) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, num_hidden_layers=layers, tie_word_embeddings=False)
    config._attn_implementation = "sdpa"
    model: Any = LlamaForCausalLM(config).to(dtype)
    if tuning == "lora":
        model = get_peft_model(model, LoraConfig(r=LORA_R, target_modules="all-linear", task_type="CAUSAL_LM"))
        model.enable_input_require_grads()
    return model.train()


def started(strategy: str) -> Any:
    """accelerate's Accelerator for the strategy, in bf16 mixed precision."""
    import torch
    from accelerate import Accelerator, FullyShardedDataParallelPlugin, PartialState
    from accelerate.utils import DistributedType

    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    if strategy == "ddp":
        return accelerator
    version = int(strategy[-1])
    more: dict[str, Any] = {"reshard_after_forward": True} if version == 2 else {"use_orig_params": True}
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=version,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["LlamaDecoderLayer"],
        cpu_ram_efficient_loading=False,
        sync_module_states=False,
        **more,
    )
    plugin.set_mixed_precision("bf16")
    for shared in (PartialState._shared_state, accelerator.state._shared_state, accelerator.state.__dict__):
        shared |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": plugin, "device": torch.device("cpu")}
    return accelerator


def local(tensor: Any) -> Any:
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def size(tensors: list[Any]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def dtypes(tensors: list[Any]) -> list[str]:
    return sorted({str(each.dtype) for each in tensors if each.numel()})


def rank_of(rank: int, meeting: str, case: tuple[str, str, str], target: str) -> None:
    import torch

    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "MASTER_PORT": 29500}
    os.environ |= {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS)
    found, deeper = (observe(*case, layers) for layers in (2, 4))
    # what one token leaves in one layer: the difference of two depths
    found["saved_per_token"] = (deeper["saved"] - found["saved"]) / 2 / TOKENS
    if rank == 0:
        Path(target).write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def run_case(case: tuple[str, str, str]) -> dict[str, Any]:
    """The case in two processes, forked of this one, which has imported everything and computed nothing."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "found.json")
        arguments = [(rank, str(Path(folder) / "meeting"), case, target) for rank in range(RANKS)]
        ranks = [fork.Process(target=rank_of, args=each) for each in arguments]
        for each in ranks:
            each.start()
        for each in ranks:
            each.join()
        if any(each.exitcode for each in ranks):
            raise RuntimeError(f"a process of {case} failed")
        return json.loads(Path(target).read_text(encoding="utf-8"))


def main() -> None:
    import accelerate  # noqa: F401
    import peft  # noqa: F401
    import torch.distributed.fsdp  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    for case in CASES:
        print(json.dumps(run_case(case) | dict(zip(("strategy", "tuning", "dtype"), case, strict=True))))


if __name__ == "__main__":
    sys.exit(main())
