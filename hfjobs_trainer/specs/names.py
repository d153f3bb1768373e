"""Argument names that are not fields: folded into a group, renamed since, or refused.

Renames were read off TRL 1.16.0 and transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hfjobs_trainer.specs.groups import HubStrategy, Reporter

# flat TRL name -> (group, field of the group)
FOLDED: dict[str, tuple[str, str]] = {
    "push_to_hub": ("output", "push_to_hub"),
    "hub_model_id": ("output", "hub_model_id"),
    "hub_private_repo": ("output", "private"),
    "hub_strategy": ("output", "hub_strategy"),
    "run_name": ("tracking", "name"),
    "project": ("tracking", "project"),
    "trackio_space_id": ("tracking", "space_id"),
    "trackio_bucket_id": ("tracking", "bucket_id"),
    "report_to": ("tracking", "report_to"),
    "fsdp": ("hardware", "fsdp"),
    "fsdp_config": ("hardware", "fsdp_config"),
    "deepspeed": ("hardware", "deepspeed"),
    "accelerator_config": ("hardware", "accelerator_config"),
}

FOLDED_TYPES: dict[str, Any] = {
    "push_to_hub": bool,
    "hub_model_id": str | None,
    "hub_private_repo": bool,
    "hub_strategy": HubStrategy,
    "run_name": str | None,
    "project": str,
    "trackio_space_id": str | None,
    "trackio_bucket_id": str | None,
    "trackio_static_space_id": Literal[False],
    "report_to": Reporter | list[Reporter],
    "fsdp": bool | str | None,
    "fsdp_config": dict[str, Any] | None,
    "deepspeed": dict[str, Any] | None,
    "accelerator_config": dict[str, Any] | None,
}
"""Input types of the folded names."""

FOLDED_FIELDS: dict[str, str] = {"teacher_model_name_or_path": "teacher_model", "reward_model_path": "reward_model"}
"""TRL name -> field of the specs that have it."""

# key of model_init_kwargs -> field of the spec
FOLDED_MODEL_INIT: dict[str, str] = {
    "revision": "model_revision",
    "dtype": "dtype",
    "attn_implementation": "attn_implementation",
    "quantization_config": "quantization",
}

REFUSED: dict[str, tuple[str, str]] = {
    "hub_token": (
        "a token would be written into the script",
        "set HF_TOKEN in your environment or run `hf auth login`",
    ),
    "token": ("a token would be written into the script", "set HF_TOKEN in your environment or run `hf auth login`"),
    "local_rank": ("the launcher gives each process its rank", "remove it"),
    "parallelism_config": ("an object, which a script cannot carry", 'hardware=hft.Hardware(strategy="ddp")'),
    "do_train": ("TRL's trainers ignore it; the script always trains", "remove it"),
    "do_predict": ("the script trains and evaluates, it does not predict", "remove it"),
    "disable_tqdm": ("the script reports its progress as events, which job.watch() shows as a bar", "remove it"),
}
"""Names of TRL that a spec does not take: why, and what to do instead."""

COMMON_RENAMES: dict[str, str] = {
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "tokenizer": "nothing: the tokenizer is loaded with the model",
    "processing_class": "nothing: the tokenizer is loaded with the model",
    "model_name_or_path": "model",
    "model_name": "model",
    "model_id": "model",
    "base_model": "model",
    "train_dataset": "dataset",
    "dataset_name": "dataset",
    "dataset_id": "dataset",
    "dataset_config": 'dataset=hft.Dataset(id=..., config="...")',
    "dataset_train_split": 'dataset=hft.Dataset(id=..., split="...")',
    "dataset_test_split": 'eval_dataset=hft.Dataset(id=..., split="...")',
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps, which takes a fraction below 1 as well as a number of steps",
    "torch_dtype": "dtype",
    "gpu": "hardware",
    "flavor": "hardware",
    "epochs": "num_train_epochs",
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size, or global_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "group_by_length": 'train_sampling_strategy="group_by_length"',
    "include_inputs_for_metrics": 'include_for_metrics=["inputs"]',
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_organization": 'hub_model_id="organization/name"',
    "push_to_hub_token": "nothing: HF_TOKEN is read from your environment at submit",
    "peft_config": "lora=hft.LoRA(...)",
    "use_peft": "lora=hft.LoRA(...)",
    "lora_config": "lora=hft.LoRA(...)",
    "lora_r": "lora=hft.LoRA(r=...)",
    "lora_alpha": "lora=hft.LoRA(lora_alpha=...)",
    "space_id": 'tracking=hft.Tracking(space_id="...")',
    "no_cuda": "use_cpu",
    "adafactor": 'optim="adafactor"',
    "use_liger": "nothing: TRL computes its losses without materialising the logits",
    "overwrite_output_dir": "nothing: transformers dropped it",
    "logging_dir": "nothing: transformers dropped it; trackio keeps the metrics",
    "save_safetensors": "nothing: checkpoints are always safetensors",
    "use_mps_device": "nothing: the device is detected",
    "fp16_backend": "nothing: transformers dropped it",
    "half_precision_backend": "nothing: transformers dropped it",
    "tpu_num_cores": "nothing: transformers dropped it",
    "past_index": "nothing: transformers dropped it",
    "ray_scope": "nothing: transformers dropped it",
    "torchdynamo": "torch_compile",
    "jit_mode_eval": "nothing: transformers dropped it",
    "use_ipex": "nothing: transformers dropped it",
    "mp_parameters": "nothing: transformers dropped it",
    "include_tokens_per_second": "include_num_input_tokens_seen",
    "split_batches": 'accelerator_config={"split_batches": True}',
    "dispatch_batches": 'accelerator_config={"dispatch_batches": ...}',
    "fsdp_min_num_params": 'fsdp_config={"min_num_params": ...}',
    "fsdp_transformer_layer_cls_to_wrap": 'fsdp_config={"transformer_layer_cls_to_wrap": [...]}',
}

ONE_LENGTH: dict[str, str] = dict.fromkeys(
    ("max_prompt_length", "max_completion_length", "max_target_length"),
    "max_length, which covers prompt and completion",
)
NO_LIGER: dict[str, str] = {"use_liger_loss": "nothing: TRL computes its losses without materialising the logits"}
PAIRS: dict[str, str] = {
    "reference_free": "nothing: TRL dropped it",
    "generate_during_eval": "nothing: TRL dropped it",
    "label_pad_token_id": "nothing: TRL dropped it",
    "padding_value": "nothing: TRL dropped it",
    "use_logits_to_keep": "nothing: TRL always does it",
    "force_use_ref_model": "nothing: TRL dropped it",
    "ref_model_init_kwargs": "model_init_kwargs",
}
ANSWERS: dict[str, str] = {
    "max_seq_length": "max_completion_length",
    "max_seq_len": "max_completion_length",
    "max_prompt_length": "nothing: TRL no longer truncates prompts; filter the dataset instead",
    "max_new_tokens": "max_completion_length",
    "response_length": "max_completion_length",
    "max_length": "max_completion_length",
    "vllm_device": 'nothing: TRL dropped it; see vllm_mode="colocate"',
    "vllm_dtype": "nothing: TRL dropped it",
    "vllm_max_model_len": "vllm_max_model_length",
    "vllm_guided_decoding_regex": "vllm_structured_outputs_regex",
    "vllm_enable_prefix_caching": "nothing: TRL dropped it",
    "vllm_init_kwargs": "nothing: TRL dropped it",
    "wandb_log_unique_prompts": "log_unique_prompts",
}
REWARDS: dict[str, str] = {
    "reward_model": "reward_funcs",
    "reward_model_path": "reward_funcs",
    "reward_model_name_or_path": "reward_funcs",
    "judge": "reward_funcs with a function that calls the judge",
}
POLICY: dict[str, str] = {
    "kl_coef": "beta",
    "cliprange": "epsilon",
    "num_ppo_epochs": "num_iterations",
    "num_mini_batches": "steps_per_generation",
    "total_episodes": "max_steps",
}


def renamed(former: Mapping[str, str], name: str) -> str | None:
    """What ``name`` is called today, or ``None`` if it is not a former name.

    Args:
        former: Former names of one method's arguments, and today's: ``FORMER_NAMES`` of its spec class.
        name: What was typed.
    """
    return former.get(name) or COMMON_RENAMES.get(name)
