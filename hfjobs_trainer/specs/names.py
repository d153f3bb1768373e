"""Argument names that are not fields: folded into a group, renamed since, or refused.

Renames were read off TRL 1.16.0 and transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

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

_TOKEN = (
    "it would be written into the script; HF_TOKEN of your environment is used, or the token that you logged in with"
)

REFUSED: dict[str, tuple[str, str]] = {
    "hub_token": (_TOKEN, "hf auth login"),
    "token": (_TOKEN, "hf auth login"),
    "local_rank": ("remove it: the launcher gives each process its rank", ""),
    "parallelism_config": ("an object, which a script cannot carry", 'hardware=hft.Hardware(strategy="ddp")'),
    "do_train": ("remove it: TRL's trainers ignore it, and the script always trains", ""),
    "do_predict": ("remove it: the script trains and evaluates, it does not predict", ""),
    "disable_tqdm": ("remove it: the script reports its progress as events, which job.watch() shows as a bar", ""),
}
"""Names of TRL that a spec does not take: why, and what to do instead."""

_MAP = "dataset=hft.Dataset(id=..., map=function)"
_OWN = "hft.Script runs a script of yours that does"

TRAINER: dict[str, str] = {
    "args": "write its arguments as they are, or build the spec with from_config(args, model=..., dataset=...)",
    "callbacks": f"the script has one callback, which reports its progress, and takes no others: {_OWN}",
    "compute_loss_func": f"the loss is the trainer's own, as its arguments choose it: {_OWN}",
    "compute_metrics": "an evaluation logs the loss and the trainer's own metrics, such as the accuracy of tokens, and "
    f"no others, which would need the logits that TRL is about to drop: {_OWN}",
    "data_collator": f"the trainer's own puts batches together; a row is changed by {_MAP}",
    "formatting_func": f"this trainer prepares rows itself and ignores it; a row is changed by {_MAP}",
    "model_init": "the script loads the model itself: name it in model, with model_init_kwargs",
    "optimizers": "optim names the optimizer, optim_args its arguments and lr_scheduler_type the schedule",
    "optimizer_cls_and_kwargs": "optim names the optimizer, and optim_args its arguments",
    "preprocess_logits_for_metrics": "it serves compute_metrics, which a spec does not take",
    "reward_processing_classes": "each reward model is loaded with its own tokenizer",
    "rollout_func": f"the trainer generates the completions itself: {_OWN}",
}
"""Arguments of TRL's trainers that a spec does not take, and what to do instead.

Each is an object of the program; functions that a spec does take travel as source text. A test holds that no argument
of a trainer is missing here.
"""


class Today(NamedTuple):
    """What a former name is today.

    Attributes:
        path: Field, or field of a group, such as ``"lora.r"``; empty if there is nothing like it any more.
        note: What to know of it, after "it is ... today" or "there is nothing like it".
        value: What to set it to, if that is not the value that was typed.
        exact: Whether a file or a command line with the former name means just that, so that it is translated.
        idle: Values of a former name with which it changed nothing, beside ``None``, ``False`` and what is empty.
    """

    path: str = ""
    note: str = ""
    value: Any = None
    exact: bool = True
    idle: tuple[Any, ...] = ()


UNSAID: Final = ...
"""In place of ``Today.value``: the value cannot be told from what was typed."""


def gone(note: str, *idle: Any) -> Today:
    """There is nothing like it any more; what it did is lost, but with the values in ``idle`` it did nothing."""
    return Today(note=note, exact=False, idle=idle)


def idle(note: str) -> Today:
    """There is nothing like it any more, and a run trains the same without it."""
    return Today(note=note)


Former = Mapping[str, str | Today]
"""Former names of arguments, and what they are today; text is the name of a field that takes the same values."""

COMMON_RENAMES: dict[str, str | Today] = {
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "tokenizer": "processing_class",
    "tokenizer_name_or_path": "processing_class",
    "model_name_or_path": "model",
    "model_name": "model",
    "model_id": "model",
    "base_model": "model",
    "train_dataset": "dataset",
    "dataset_name": "dataset",
    "dataset_id": "dataset",
    "dataset_config": Today("dataset.config"),
    "dataset_train_split": Today("dataset.split"),
    "dataset_test_split": Today("eval_dataset.split"),
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": Today("warmup_steps", "which takes a share below 1 as well as a number of steps"),
    "torch_dtype": "dtype",
    "gpu": "hardware",
    "flavor": "hardware",
    "epochs": "num_train_epochs",
    "lr": "learning_rate",
    # of axolotl, LLaMA-Factory and Unsloth
    "sequence_len": "max_length",
    "cutoff_len": "max_length",
    "num_epochs": "num_train_epochs",
    "micro_batch_size": Today("per_device_train_batch_size", exact=False),
    "optimizer": "optim",
    "lr_scheduler": "lr_scheduler_type",
    "val_set_size": "eval_fraction",
    "val_size": "eval_fraction",
    "max_samples": Today("dataset.num_samples"),
    "use_gradient_checkpointing": "gradient_checkpointing",
    "flash_attention": Today("attn_implementation", value="flash_attention_2"),
    **dict.fromkeys(("adapter", "finetuning_type"), Today("lora", "an hft.LoRA", value=UNSAID, exact=False)),
    "lora_target": Today("lora.target_modules", 'where "all-linear" is all of them', value=UNSAID, exact=False),
    "template": gone("the chat template is the tokenizer's, or that of chat_template"),
    "special_tokens": gone("eos_token and pad_token name the tokens"),
    "stage": gone("the class of the spec is the method"),
    "overwrite_cache": idle("what is prepared anew is decided by its content"),
    "plot_loss": idle("the tracker plots it"),
    "batch_size": Today("per_device_train_batch_size", "or global_batch_size, over all GPUs", exact=False),
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "group_by_length": Today("train_sampling_strategy", value="group_by_length"),
    "include_inputs_for_metrics": Today("include_for_metrics", value=["inputs"]),
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_organization": Today(
        "hub_model_id", "with the organization before the name", value=UNSAID, exact=False
    ),
    "push_to_hub_token": gone("HF_TOKEN is read from your environment at submit"),
    "peft_config": Today("lora", "an hft.LoRA with the same arguments"),
    "quantization_config": Today("quantization", 'such as "4bit", or an hft.Quantization', value=UNSAID),
    # of the methods that do not take one
    "ref_model": gone("the script makes the reference from the model that is trained"),
    "use_peft": "lora",
    "lora_config": Today("lora", "an hft.LoRA with the same arguments"),
    "lora_r": Today("lora.r"),
    "lora_alpha": Today("lora.lora_alpha"),
    "space_id": Today("tracking.space_id"),
    "no_cuda": "use_cpu",
    "gradient_checkpointing_use_reentrant": Today("gradient_checkpointing_kwargs.use_reentrant"),
    "hub_model_revision": "hub_revision",
    "wandb_project": Today("tracking.project"),
    "wandb_run_group": Today("tracking.group"),
    "sanity_check": gone("TRL dropped it"),
    "adafactor": Today("optim", value="adafactor"),
    "use_liger": gone("TRL computes its losses without materialising the logits"),
    "overwrite_output_dir": idle("transformers dropped it"),
    "fp16_opt_level": idle("transformers dropped it"),
    "tpu_metrics_debug": idle("transformers dropped it"),
    "use_legacy_prediction_loop": idle("transformers dropped it"),
    "logging_dir": idle("transformers dropped it; trackio keeps the metrics"),
    "save_safetensors": idle("checkpoints are always safetensors"),
    "use_mps_device": idle("the device is detected"),
    "fp16_backend": idle("transformers dropped it"),
    "half_precision_backend": idle("transformers dropped it"),
    "tpu_num_cores": idle("transformers dropped it"),
    "past_index": idle("transformers dropped it"),
    "ray_scope": idle("transformers dropped it"),
    "torchdynamo": Today("torch_compile", exact=False),
    "jit_mode_eval": idle("transformers dropped it"),
    "use_ipex": idle("transformers dropped it"),
    "mp_parameters": idle("transformers dropped it"),
    "include_tokens_per_second": Today("include_num_input_tokens_seen", exact=False),
    "split_batches": Today("hardware.accelerator_config.split_batches"),
    "dispatch_batches": Today("hardware.accelerator_config.dispatch_batches"),
    "fsdp_min_num_params": Today("hardware.fsdp_config.min_num_params"),
    "fsdp_transformer_layer_cls_to_wrap": Today("hardware.fsdp_config.transformer_layer_cls_to_wrap"),
}

FormerDefaults = Mapping[str, tuple[Any, str]]
"""Arguments whose default has changed: what it was, and the TRL since which it is another one."""

FORMER_DEFAULTS: FormerDefaults = {
    "bf16": (False, "0.19"),
    "gradient_checkpointing": (False, "0.22"),
    "logging_steps": (500, "0.19"),
}
"""Those that every method has; they, and those of the methods, were read off the configs of TRL 0.11 to 1.16."""

ONLY_WITH: Mapping[str, str] = {"packing_strategy": "packing", "vllm_mode": "use_vllm"}
"""Arguments that mean something only where another one is on."""

ONE_LENGTH: dict[str, str | Today] = dict.fromkeys(
    ("max_prompt_length", "max_completion_length", "max_target_length"),
    Today("max_length", "which covers prompt and completion", exact=False),
)
NO_LIGER: dict[str, str | Today] = {"use_liger_loss": idle("TRL computes its losses without materialising the logits")}
KEEPS_START: dict[str, str | Today] = {"truncation_mode": gone("TRL keeps the start of a row", "keep_start")}
PAIRS: dict[str, str | Today] = {
    "reference_free": gone("TRL dropped it"),
    "generate_during_eval": gone("TRL dropped it"),
    "label_pad_token_id": gone("TRL dropped it", -100),
    "padding_value": idle("TRL dropped it"),
    "use_logits_to_keep": idle("TRL always does it"),
    "use_num_logits_to_keep": idle("TRL always does it"),
    "force_use_ref_model": gone("TRL dropped it"),
    "ref_model_init_kwargs": Today("model_init_kwargs", exact=False),
    "is_encoder_decoder": gone("TRL trains decoders only"),
    "base_model_attribute_name": idle("TRL finds it by itself"),
    **dict.fromkeys(("model_adapter_name", "ref_adapter_name"), gone("the script creates the adapter")),
}
ANSWERS: dict[str, str | Today] = {
    "max_seq_length": Today("max_completion_length", exact=False),
    "max_seq_len": Today("max_completion_length", exact=False),
    **dict.fromkeys(("sequence_len", "cutoff_len"), Today("max_completion_length", exact=False)),
    "max_prompt_length": idle("TRL no longer truncates prompts; filter the dataset instead"),
    "max_new_tokens": "max_completion_length",
    "response_length": "max_completion_length",
    "max_length": Today("max_completion_length", exact=False),
    "vllm_device": idle('TRL dropped it; see vllm_mode="colocate"'),
    "vllm_dtype": gone("TRL dropped it", "auto"),
    "vllm_max_model_len": "vllm_max_model_length",
    "vllm_guided_decoding_regex": "vllm_structured_outputs_regex",
    "vllm_enable_prefix_caching": idle("TRL dropped it"),
    "vllm_init_kwargs": gone("TRL dropped it"),
    "wandb_log_unique_prompts": "log_unique_prompts",
}
REWARDS: dict[str, str | Today] = {
    "reward_model": "reward_funcs",
    "reward_model_path": "reward_funcs",
    "reward_model_name_or_path": "reward_funcs",
    "judge": Today("reward_funcs", "with a function that calls the judge", value=UNSAID, exact=False),
}
POLICY: dict[str, str | Today] = {
    "kl_coef": "beta",
    "cliprange": "epsilon",
    "num_ppo_epochs": "num_iterations",
    "num_mini_batches": Today("steps_per_generation", exact=False),
    "total_episodes": Today("max_steps", exact=False),
}


def renamed(former: Former, name: str) -> Today | None:
    """What ``name`` is today, or ``None`` if it is not a former name.

    Args:
        former: Former names of one method's arguments: ``FORMER_NAMES`` of its spec class.
        name: What was typed.
    """
    today = former.get(name) or COMMON_RENAMES.get(name)
    return Today(today) if isinstance(today, str) else today
