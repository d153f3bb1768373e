"""Accelerate's configuration files, as ``trl --accelerate_config`` takes them, in the words of ``hft.Hardware``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.notes import LEFT_OUT, Note
from hfjobs_trainer.specs.options import whole

PROFILES: Mapping[str, str] = {
    "single_gpu": "single",
    "multi_gpu": "ddp",
    **{name: name for name in ("fsdp1", "fsdp2", "zero1", "zero2", "zero3")},
}
"""The files that TRL brings, by name, and the strategy that is the same."""

# What a strategy fixes, in the words of the file: any other value would be lost.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "fsdp_activation_checkpointing": (False,),
    "fsdp_auto_wrap_policy": ("TRANSFORMER_BASED_WRAP",),
    "fsdp_offload_params": (False,),
    "fsdp_reshard_after_forward": ("FULL_SHARD", True),
    "fsdp_sharding_strategy": ("FULL_SHARD", 1),
    "fsdp_state_dict_type": ("FULL_STATE_DICT", "SHARDED_STATE_DICT"),
    "offload_optimizer_device": ("none",),
    "offload_param_device": ("none",),
}
_WRITTEN = "TRL's own fsdp, fsdp_config and deepspeed can say it"
_OTHERWISE = {
    "parallelism_config": "a spec does not split a sequence over several GPUs: run TRL's script with it by hft.Script",
}
_OPAQUE = ("deepspeed_hostfile", "parallelism_config", "megatron_lm_config", "fp8_config")


def read_accelerate_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Fields of ``hft.Hardware`` that say what the file says, and what of it they cannot say."""
    kind = str(config.get("distributed_type", "NO")).upper()
    details = {**_section(config, "fsdp_config"), **_section(config, "deepspeed_config")}
    strategy = {
        "NO": "single",
        "MULTI_GPU": "ddp",
        "FSDP": f"fsdp{details.get('fsdp_version', 1)}",
        "DEEPSPEED": f"zero{details.get('zero_stage', 2)}",
    }.get(kind)
    problems = lost_settings({**config, **details})
    if strategy is None:
        why = f"distributed_type: {kind} has no strategy that is the same"
        problems.append(Problem("LOAD005", "accelerate_config", why))
    fields = {"strategy": strategy, "num_gpus": config.get("num_processes"), "nodes": config.get("num_machines")}
    return {name: value for name, value in fields.items() if value is not None}, problems


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def config_file_of(config: Mapping[str, Any]) -> Any:
    """The file of DeepSpeed that the file names, if it names one."""
    return _section(config, "deepspeed_config").get("deepspeed_config_file")


def lost_settings(settings: Mapping[str, Any]) -> list[Problem]:
    """A problem for each setting, of a file or of ``accelerate launch``, that a named strategy cannot express."""
    return [*_lost(settings)]


def idle_settings(settings: Mapping[str, Any]) -> list[Note]:
    """What of the settings has no effect on what is trained, but another one than it says."""
    details = {**settings, **_section(settings, "fsdp_config")}
    name, kind = "fsdp_state_dict_type", "SHARDED_STATE_DICT"
    whole = "checkpoints are saved whole, as the model is"
    return [Note(name, LEFT_OUT, f"{name}: {kind}; {whole}", name)] if details.get(name) == kind else []


_TRUTH = {"true": True, "false": False}


def _lost(settings: Mapping[str, Any]) -> Iterator[Problem]:
    for name, given in settings.items():
        # as an option of a command, it is text
        text = given if isinstance(given, str) else ""
        value: Any = _TRUTH.get(text.lower(), given if (number := whole(text)) is None else number)
        if (name in _FIXED and value not in _FIXED[name]) or (name in _OPAQUE and value):
            why = f"{name}: {value!r:.60} cannot be expressed as a strategy; {_OTHERWISE.get(name, _WRITTEN)}"
            yield Problem("LOAD005", "accelerate_config", why)
