"""Rules about runs on several machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.hardware.machine import most_server_gpus, server_gpus
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.script import Script

if TYPE_CHECKING:
    from hfjobs_trainer.planning.rules.vllm import Generating

_PATH = "hardware.nodes"


@rule("NODE001")
def this_machine_is_one_node(context: Context[TrainSpec]) -> Iterator[Found]:
    """Several nodes are several machines.

    What it does:
        Refuses `nodes` above 1 on the local backend.

    Why:
        The local backend starts one process tree on this machine; the other nodes would never come. On machines of
        your own, render the script as for Jobs and start it on each with `HFT_NODE_RANK` and `HFT_MAIN_NODE`.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., hardware=hft.Hardware(nodes=2), backend="local")
        ```

    Use instead:
        ```python
        hft.submit_sft(model=..., dataset=..., backend="local")
        ```
    """
    nodes = context.spec.hardware.nodes
    if nodes > 1 and context.backend.is_here:
        yield Found(_PATH, f"this machine is 1 node, not {nodes}", change(context.spec, {_PATH: 1}))


@rule("NODE002")
def the_model_reaches_every_node(context: Context[TrainSpec]) -> Iterator[Found]:
    """A run on several nodes uses a GPU of each.

    What it does:
        With `nodes` above 1, refuses `strategy="single"` and `use_cpu=True`.

    Why:
        `"single"` trains on one GPU, so that all nodes but the first would be paid for nothing; and several machines
        without GPUs cost more than one that has one, and take longer.

    Example:
        ```python
        hft.Hardware(flavor="a10g-large", nodes=2, strategy="single")
        ```

    Use instead:
        ```python
        hft.Hardware(flavor="a10g-large", nodes=2)
        ```
    """
    spec = context.spec
    nodes = context.run.nodes
    if nodes == 1:
        return
    if spec.hardware.strategy == "single":
        why = f'"single" trains on one GPU, of one of the {nodes} nodes that train'
        yield Found("hardware.strategy", why, change(spec, {"hardware.strategy": "auto"}))
    if spec.use_cpu:
        yield Found("use_cpu", f"{nodes} nodes would not use their GPUs", "use_cpu=False")


@rule("NODE003")
def the_best_model_is_on_every_node(context: Context[TrainSpec]) -> Iterator[Found]:
    """Every node can load the best model.

    What it does:
        With `nodes` above 1, refuses `load_best_model_at_end=True` without `save_on_each_node=True`.

    Why:
        Checkpoints are saved by the first process of all, on the disk of its node. At the end every process loads the
        best one from its own disk; on the other nodes it is not there, and they would go on with another model.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, eval_strategy="steps", load_best_model_at_end=True,
                hardware=hft.Hardware(nodes=2))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, eval_strategy="steps", load_best_model_at_end=True,
                save_on_each_node=True, hardware=hft.Hardware(nodes=2))
        ```
    """
    spec = context.spec
    if context.run.nodes > 1 and spec.load_best_model_at_end and not spec.save_on_each_node:
        why = "the best checkpoint would be on the disk of the first node only, and every node loads it"
        yield Found("load_best_model_at_end", why, "save_on_each_node=True")


@rule("NODE004", methods=["script"])
def scripts_run_on_one_node(context: Context[Script]) -> Iterator[Found]:
    """A script of yours runs on one node.

    What it does:
        Refuses `nodes` above 1 for `hft.Script`.

    Why:
        What a script does on a machine that is not the first one cannot be known: it may train a second model, or push
        over the first.

    Example:
        ```python
        hft.Script("train.py", hardware=hft.Hardware(flavor="a10g-large", nodes=2))
        ```

    Use instead:
        ```python
        hft.Script("train.py", hardware="a10g-largex2")
        ```
    """
    nodes = context.spec.hardware.nodes
    if nodes > 1:
        why = f"a script of your own runs on one node, not on {nodes}"
        yield Found(_PATH, why, change(context.spec, {_PATH: 1}))


@rule("NODE005", stage="run", fields=["use_vllm"], scope="remote", severity="warning")
def the_vllm_server_uses_its_node(context: Context[Generating]) -> Iterator[Found]:
    """A node that serves the model has no idle GPUs.

    What it does:
        With `vllm_mode="server"` on several nodes, where the last one serves the model, warns if some of its GPUs have
        nothing to do.

    Why:
        All nodes are of one flavor, and idle GPUs cost as much as busy ones. A server uses as many GPUs as
        `vllm_tensor_parallel_size` says, of which each takes the same number of the model's attention heads.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_mode="server",
                 vllm_tensor_parallel_size=1, hardware=hft.Hardware(flavor="a100x4", nodes=2))
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., use_vllm=True, vllm_mode="server",
                 hardware=hft.Hardware(flavor="a100x4", nodes=2))
        ```
    """
    vllm = context.run.vllm
    if vllm is None or not vllm.apart:
        return
    flavor = need(context.flavor, "the flavor, for its number of GPUs", "hardware.flavor")
    model = context.facts.model
    gpus = server_gpus(vllm, model, flavor)
    if gpus >= flavor.num_gpus:
        return
    idle = f"{flavor.num_gpus - gpus} of the {flavor.num_gpus} GPUs of the last node, which serves, would be idle"
    most = most_server_gpus(model, flavor)
    if most is None:
        yield Found("vllm_tensor_parallel_size", f"{idle}: the model's attention heads are unknown")
    elif most > gpus:
        why = f"{idle}; unset, {most} of them would serve"
        yield Found("vllm_tensor_parallel_size", why, "vllm_tensor_parallel_size=None")
    else:
        why = f"{idle}: vLLM spreads the {model.num_attention_heads} attention heads over {gpus} at most"
        yield Found("vllm_mode", why, 'vllm_mode="colocate"')
