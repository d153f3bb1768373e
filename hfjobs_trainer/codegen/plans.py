"""The generated parts that show plans, choices and hardware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.markdown import table, text_block
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.planning.hardware.catalogue import snapshot

# Facts about the model and the dataset of the README's example, and an account that may write.
EXAMPLE_FACTS = Facts(
    model=ModelFacts(
        exists=True,
        model_type="qwen2",
        num_parameters=494_032_768,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
        dtype="bfloat16",
        has_chat_template=True,
    ),
    dataset=DatasetFacts(
        exists=True,
        columns=("chosen", "rejected", "score_chosen", "score_rejected"),
        splits=("train", "test"),
    ),
    account=AccountFacts(has_token=True, name="username", organizations=(), token_role="write"),
    is_gathered=True,
)


def price_range(page: Mapping[str, Any]) -> str:
    """The prices of machines with GPUs, from the cheapest to the most expensive."""
    prices = sorted(flavor.usd_per_hour for flavor in snapshot().flavors if flavor.num_gpus)
    machines = f"A machine with GPUs costs ${prices[0]:.2f} to ${prices[-1]:.2f} per hour"
    return f"{machines} ({snapshot().source}): [all flavors](references/hardware_guide.md#all-flavors)."


def plan(page: Mapping[str, Any]) -> str:
    """The plan of the page's ``spec``, as it is printed."""
    return text_block(str(hft.plan(page["spec"], facts=EXAMPLE_FACTS)))


def own_gpu(page: Mapping[str, Any]) -> str:
    """The estimate of the README's run on a GPU of your own."""
    return text_block(str(hft.estimate(page["spec"], gpu="RTX 4090", facts=EXAMPLE_FACTS)))


def choice(page: Mapping[str, Any]) -> str:
    """How the flavor of the page's ``spec`` is chosen: the first lines."""
    lines = str(hft.pick_flavor(page["spec"], facts=EXAMPLE_FACTS)).splitlines()
    return text_block("\n".join([*lines[:15], "  ..."]))


def comparison(page: Mapping[str, Any]) -> str:
    """The page's ``spec`` on the flavors where it costs least."""
    lines = str(hft.compare_flavors(page["spec"], facts=EXAMPLE_FACTS)).splitlines()
    return text_block("\n".join([*lines[:8], "..."]))


def flavors(page: Mapping[str, Any]) -> str:
    """The hardware snapshot as a table."""
    rows = [
        (
            f"`{flavor.name}`",
            flavor.gpu or "none",
            str(flavor.num_gpus or ""),
            f"{flavor.gpu_memory_gb:g}" if flavor.gpu_memory_gb else "",
            f"{flavor.usable_gpu_memory_gib:g}" if flavor.usable_gpu_memory_gib else "",
            ("yes" if flavor.bf16 else "no") if flavor.num_gpus else "",
            str(flavor.vcpu),
            f"{flavor.ram_gb:g}",
            f"{flavor.disk_gb:g}",
            f"{flavor.usd_per_hour:.2f}",
        )
        for flavor in snapshot().flavors
    ]
    header = ("Flavor", "GPU", "GPUs", "GB of one", "usable GiB", "bf16", "vCPU", "RAM GB", "disk GB", "$/h")
    return f"{snapshot().source[0].upper()}{snapshot().source[1:]}.\n\n{table(header, rows)}"
