"""Bytes that move between matrix products: counted as real layers of transformers and PEFT run."""

from __future__ import annotations

from typing import Any

import pytest

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.duration.elementwise import elementwise_bytes
from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.planning.model.shape import shape_of

SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 512,
    "head_dim": 32,
}
TOKENS = 512
# Operations that make no tensor, and those whose time is arithmetic.
VIEWS = ("view", "transpose", "_unsafe_view", "expand", "slice", "unsqueeze", "permute", "detach", "alias", "split")
PRODUCTS = ("mm", "attention", "embedding", "linear")


def count_bytes(run: Any) -> int:
    """Bytes of the tensors that the other operations of ``run()`` read and write; small ones are no traffic."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            name = str(func).split(".")[1]
            if name != "t" and not name.startswith(VIEWS) and not any(word in name for word in PRODUCTS):
                tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
                self.total += sum(each.numel() * each.element_size() for each in tensors if each.numel() > TOKENS)
            return out

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), Counter() as counter:
        run()
    return counter.total


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # PEFT asks transformers
@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_the_count_is_that_of_the_modules_that_run(model_type: str, adapted: bool) -> None:
    import peft
    import torch
    import transformers

    hf: Any = transformers
    config = hf.AutoConfig.for_model(model_type, **SIZES)
    model = hf.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    if adapted:
        wrapped: Any = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules="all-linear"))
        model = wrapped.get_base_model()
    tokens = torch.zeros((1, TOKENS), dtype=torch.long)
    counted = count_bytes(lambda: model.model(tokens)) / TOKENS

    facts = ModelFacts(model_type=model_type, **SIZES)
    workload = Workload(
        model=facts,
        tuning="lora" if adapted else "full",
        lora_r=8,
        lora_targets="all-linear",
        dtype="bfloat16",
        mixed_precision="bf16",
    )
    shape = shape_of(facts)
    assert shape is not None
    assert elementwise_bytes(workload, shape) == pytest.approx(counted, rel=0.1)


def test_fused_kernels_move_less_and_an_adapter_moves_more() -> None:
    facts = ModelFacts(model_type="llama", **SIZES)
    shape = shape_of(facts)
    assert shape is not None

    def moved(**fields: Any) -> float:
        given: dict[str, Any] = {"model": facts, "dtype": "bfloat16", **fields}
        return elementwise_bytes(Workload(**given), shape)

    assert moved(liger_kernel=True) < 0.5 * moved()
    lora: dict[str, Any] = {"tuning": "lora", "lora_targets": "all-linear"}
    assert moved(**lora, quantization="4bit") < moved(**lora)
    assert moved() < moved(**lora) < moved(**lora, lora_dropout=0.1)
    assert moved(dtype="float32") > moved()
