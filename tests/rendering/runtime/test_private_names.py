"""Names that others keep for themselves and scripts use nonetheless: each is there in the versions that are pinned."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.rendering.paste import block_names

ROOT = Path(__file__).parents[3]
BLOCKS = ROOT / "hfjobs_trainer/rendering/runtime"
INTEGRATIONS = "transformers.integrations.integration_utils"


@dataclass(frozen=True)
class Private:
    """A private name, and who uses it.

    Attributes:
        name: The name.
        block: The block that uses it.
        module: Where it is.
        owner: The class or function in whose source it stands; none if it is the module's own.
        parameter: Whether it is a parameter of the owner.
    """

    name: str
    block: str
    module: str
    owner: str = ""
    parameter: bool = False


ONLINE_DPO = "trl.experimental.online_dpo.online_dpo_trainer"
NAMES = [
    Private("_internal_call", "deadline", "transformers.trainer", "Trainer.save_model", parameter=True),
    Private("_internal_call", "deadline", "transformers.trainer", "Trainer.save_model", parameter=True),
    Private("_save_checkpoint", "checkpoints", "transformers.trainer", "Trainer"),
    Private("_run_epoch", "checkpoints", "transformers.trainer", "Trainer"),
    Private("_total_train_tokens", "checkpoints", "trl.trainer.sft_trainer", "SFTTrainer.__init__"),
    Private("_save_checkpoint", "reference", "transformers.trainer", "Trainer"),
    Private("_load_optimizer_and_scheduler", "reference", "transformers.trainer", "Trainer"),
    Private("_local_tensor", "reference", "torch.distributed.tensor", "DTensor"),
    Private("_next_step", "track_trackio", "trackio.run", "Run"),
    Private("_gpu_monitor", "track_trackio", "trackio.run", "Run"),
    Private("_config_logged", "track_trackio", "trackio.run", "Run"),
    Private("_get_default_namespace", "track_trackio", "trackio.run"),
    Private("_initialized", "track_trackio", INTEGRATIONS, "TrackioCallback"),
    Private("_ml_flow", "track_mlflow", INTEGRATIONS, "MLflowCallback"),
    Private("_wandb", "track_wandb", INTEGRATIONS, "WandbCallback"),
    Private("_generate", "evaluate_online_dpo", ONLINE_DPO, "OnlineDPOTrainer"),
    Private("_generate_vllm", "evaluate_online_dpo", ONLINE_DPO, "OnlineDPOTrainer"),
    Private("_calculate_rewards_from_functions", "evaluate_online_dpo", ONLINE_DPO, "OnlineDPOTrainer"),
    Private("_get_grad_norm", "ruin", "transformers.trainer", "Trainer"),
    Private("_metrics", "rewarded", "trl.trainer.grpo_trainer", "GRPOTrainer"),
    Private("_metrics", "rewarded", "trl.trainer.rloo_trainer", "RLOOTrainer"),
    Private("_total_train_tokens", "pace", "trl.trainer.sft_trainer", "SFTTrainer"),
    Private("_total_train_tokens", "pace", "trl.trainer.dpo_trainer", "DPOTrainer"),
    Private("_exit", "relaunch", "os"),
    # Without an underscore, and documented nowhere.
    Private("INTEGRATION_TO_CALLBACK", "track_trackio", INTEGRATIONS),
    Private("INTEGRATION_TO_CALLBACK", "track_wandb", INTEGRATIONS),
    Private("INTEGRATION_TO_CALLBACK", "track_mlflow", INTEGRATIONS),
    Private("push_in_progress", "deadline", "transformers.trainer", "Trainer"),
    Private("DEFAULT_CALLBACKS", "script", "transformers.trainer"),
    Private("current_run", "track_trackio", "trackio.context_vars"),
    Private("gpu_available", "track_trackio", "trackio.gpu"),
    Private("GpuMonitor", "track_trackio", "trackio.gpu"),
    Private("is_distributed_loading_by_transformers", "reveal_policy", "transformers.trainer", "Trainer"),
    Private("unset_hf_deepspeed_config", "merge", "transformers.integrations.deepspeed"),
]

# Used where it is not said by name: the callback is never marked as set up, so that it is set up before each row.
UNNAMED = {("_initialized", "track_trackio")}


@pytest.mark.torch
def test_a_row_is_preceded_by_the_setup_and_training_leaves_the_run_open() -> None:
    """What unset ``_initialized`` is relied on for: ``on_log`` calls ``setup``, and ``on_train_end`` does nothing."""
    callback: Any = importlib.import_module(INTEGRATIONS).TrackioCallback
    for method in (callback.on_train_begin, callback.on_log):
        assert "if not self._initialized:\n            self.setup(" in inspect.getsource(method)
    end = inspect.getsource(callback.on_train_end)
    assert "if not state.is_world_process_zero or not self._initialized:\n            return\n" in end


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("private", NAMES, ids=lambda item: f"{item.block}-{item.name}")
def test_the_name_is_there(private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TRL_EXPERIMENTAL_SILENCE", "1")
    module = importlib.import_module(private.module)
    if not private.owner:
        assert hasattr(module, private.name)
        return
    owner: Any = module
    for part in private.owner.split("."):
        owner = getattr(owner, part)
    if private.parameter:
        assert private.name in inspect.signature(owner).parameters
    else:
        assert hasattr(owner, private.name) or f"self.{private.name}" in inspect.getsource(owner)


def private_names(text: str) -> set[str]:
    """Attributes and keywords that begin with one underscore."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        name = node.attr if isinstance(node, ast.Attribute) else node.arg if isinstance(node, ast.keyword) else None
        if name and name.startswith("_") and not name.startswith("__"):
            found.add(name)
    return found


@pytest.mark.parametrize("block", block_names())
def test_no_private_name_is_unlisted(block: str) -> None:
    text = BLOCKS.joinpath(f"{block}.py").read_text("utf-8")
    listed = {item.name for item in NAMES if item.block == block}
    used = private_names(text)
    assert used <= listed
    for name in listed:
        assert name in text or (name, block) in UNNAMED, f"{block} does not use {name} any more"


def test_templates_use_no_other_private_name() -> None:
    # public, though they look otherwise: methods of every named tuple
    listed = {item.name for item in NAMES} | {"_asdict", "_replace"}
    for path in (ROOT / "scripts").glob("*.py"):
        assert private_names(path.read_text("utf-8")) <= listed
