"""Where the generated arguments differ from what TRL's dataclasses declare; every line is tested against TRL.

The tables go by the names of TRL's config classes, which several methods may share.
"""

from __future__ import annotations

LEFT_OUT: frozenset[str] = frozenset(
    {
        # Folded into a group of the spec.
        "accelerator_config",
        "deepspeed",
        "fsdp",
        "fsdp_config",
        "hub_model_id",
        "hub_private_repo",
        "hub_strategy",
        "project",
        "push_to_hub",
        "report_to",
        "run_name",
        "trackio_bucket_id",
        "trackio_space_id",
        "trackio_static_space_id",
        # Refused.
        "disable_tqdm",
        "do_predict",
        "do_train",
        "hub_token",
        "local_rank",
        "parallelism_config",
    }
)
"""Arguments of every TRL config that the generated classes do not have."""

LEFT_OUT_OF: dict[str, frozenset[str]] = {
    # Fields of the spec.
    "DistillationConfig": frozenset(
        {"teacher_model_name_or_path", "teacher_model_revision", "teacher_model_init_kwargs"}
    ),
    "GKDConfig": frozenset({"teacher_model_name_or_path", "teacher_model_init_kwargs"}),
    # Left over from an earlier TRL: the trainer reads reward_funcs alone.
    "OnlineDPOConfig": frozenset({"reward_model_path"}),
    "PPOConfig": frozenset(
        {
            # Fields of the spec.
            "reward_model_path",
            "sft_model_path",
            # The trainer computes them itself.
            "batch_size",
            "local_batch_size",
            "local_mini_batch_size",
            "micro_batch_size",
            "mini_batch_size",
            "num_total_batches",
            "world_size",
            # For adapters that the model had before; the script makes its own.
            "model_adapter_name",
            "ref_adapter_name",
        }
    ),
}
"""Config -> other arguments that its generated class does not have."""

LOADING: frozenset[str] = frozenset({"model_init_kwargs", "trust_remote_code"})
"""Common arguments that a config may lack: a script that loads the models itself uses them nevertheless."""


def left_out(config: str) -> frozenset[str]:
    """Return the arguments of a config that its generated class does not have."""
    return LEFT_OUT | LEFT_OUT_OF.get(config, frozenset())


DPO_LOSSES = (
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
)
GRPO_LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
F_DIVERGENCES = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")
IS_MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")


def literal(*names: str) -> str:
    """Return the source of a Literal of these names."""
    return f"Literal[{', '.join(repr(name) for name in names)}]"


ALIASES: dict[str, dict[str, str]] = {"DPOConfig": {"DPOLoss": literal(*DPO_LOSSES)}}
"""Config -> name of a type -> its source, written above the class."""

TYPES: dict[str, dict[str, str]] = {
    # For every config that has it: what Transformers or TRL takes, where the annotation says less or, for the command
    # line's sake, more.
    "*": {
        "debug": "DebugOption | Literal[''] | list[DebugOption]",
        "eval_steps": "Steps | None",
        "include_num_input_tokens_seen": (
            "Annotated[Literal['all', 'non_padding', 'no'], BeforeValidator(switch('all', 'no'), "
            "json_schema_input_type=bool | Literal['all', 'non_padding', 'no'])]"
        ),
        "include_for_metrics": "list[Literal['inputs', 'loss']]",
        "logging_steps": "Steps",
        "num_generations": "int",
        "pad_to_multiple_of": "Annotated[int, Field(ge=1)] | Literal['auto'] | None",
        "save_steps": "Steps",
        "vllm_mode": literal("colocate", "server"),
        "vllm_model_impl": literal("vllm", "transformers", "auto"),
        "warmup_steps": "Steps",
    },
    "DPOConfig": {
        "f_divergence_type": literal(*F_DIVERGENCES),
        "loss_type": (
            "Annotated[list[DPOLoss], Field(min_length=1), "
            "BeforeValidator(as_list, json_schema_input_type=DPOLoss | list[DPOLoss])]"
        ),
    },
    "GKDConfig": {
        "beta": "Annotated[float, Field(ge=0, le=1)]",
        "lmbda": "Annotated[float, Field(ge=0, le=1)]",
    },
    "GRPOConfig": {
        "importance_sampling_level": literal("token", "sequence"),
        "loss_type": literal(*GRPO_LOSSES),
        "multi_objective_aggregation": literal("sum_then_normalize", "normalize_then_sum"),
        "scale_rewards": (
            "Annotated[Literal['group', 'batch', 'none'], BeforeValidator(switch('group', 'none'), "
            "json_schema_input_type=bool | Literal['group', 'batch', 'none'])]"
        ),
        "vllm_importance_sampling_mode": literal(*IS_MODES),
    },
    "OnlineDPOConfig": {
        "beta": (
            "Annotated[list[float], Field(min_length=1), "
            "BeforeValidator(as_list, json_schema_input_type=float | list[float])]"
        ),
    },
    # With none of them, the trainer of TRL 1.12 divides by zero or trains nothing.
    "PPOConfig": dict.fromkeys(
        ("num_mini_batches", "num_ppo_epochs", "response_length"), "Annotated[int, Field(ge=1)]"
    ),
    "RLOOConfig": {
        "reward_clip_range": (
            "Annotated[list[float], Field(min_length=2, max_length=2), "
            "BeforeValidator(as_list, json_schema_input_type=list[float] | tuple[float, float])] | None"
        ),
    },
}
"""Config -> argument -> source of its type."""

LIMITS: dict[str, str] = {
    "adam_beta1": "ge=0, lt=1",
    "adam_beta2": "ge=0, lt=1",
    "adam_epsilon": "ge=0",
    "dataloader_num_workers": "ge=0",
    "generation_batch_size": "ge=1",
    "gradient_accumulation_steps": "ge=1",
    "learning_rate": "ge=0",
    "max_completion_length": "ge=1",
    "max_length": "ge=1",
    "min_p": "ge=0, le=1",
    "num_generations": "ge=2",
    "num_iterations": "ge=1",
    "per_device_eval_batch_size": "ge=1",
    "per_device_train_batch_size": "ge=1",
    "ref_model_sync_steps": "ge=1",
    "repetition_penalty": "gt=0",
    "seed": "ge=0, lt=2**32",
    "steps_per_generation": "ge=1",
    "temperature": "gt=0",
    "top_p": "ge=0, le=1",
    "torch_empty_cache_steps": "ge=1",
    "warmup_steps": "ge=0",
    "weight_decay": "ge=0",
}
"""Argument -> limits of its Field: with a value outside, TRL, Transformers or torch fail, or train nothing."""

DOCS: dict[str, str] = {
    "auto_find_batch_size": "Halve the training batch size until it fits in memory.",
    "ddp_broadcast_buffers": "`broadcast_buffers` of `DistributedDataParallel`.",
    "ddp_bucket_cap_mb": "`bucket_cap_mb` of `DistributedDataParallel`, in MiB.",
    "ddp_find_unused_parameters": "`find_unused_parameters` of `DistributedDataParallel`.",
    "ddp_static_graph": "`static_graph` of `DistributedDataParallel`.",
    "dataloader_persistent_workers": "Keep the data loader's worker processes from one epoch to the next.",
    "desirable_weight": "Weight of the losses of desirable completions, to balance unequal numbers.",
    "discopop_tau": "Temperature of the log-ratio modulation in the `discopop` loss.",
    "ds3_gather_for_generation": "With DeepSpeed ZeRO-3, gather the policy's weights for generation.",
    "eval_accumulation_steps": "Prediction steps to keep on the accelerator before they move to the CPU.",
    "eval_on_start": "Evaluate once before the first training step.",
    "eval_use_gather_object": "Gather nested lists, tuples and dictionaries of objects from all devices.",
    "f_alpha_divergence_coef": "alpha of the alpha-divergence, for `f_divergence_type='alpha_divergence'`.",
    "full_determinism": "Use deterministic algorithms throughout, at a cost in speed.",
    "ld_alpha": "LD-DPO's weight of the verbose part of a response; none by default.",
    "log_on_each_node": "Log on each node, or only on the main one.",
    "max_steps": "Total number of optimizer steps; if positive, it overrides `num_train_epochs`.",
    "model_init_kwargs": "Keyword arguments of the model's `from_pretrained`.",
    "packing": "Pack several sequences into one of `max_length` tokens.",
    "pad_to_multiple_of": "Pad sequences to a multiple of this many tokens.",
    "pad_token": "Deprecated: set the tokenizer's own `pad_token`.",
    "padding_free": "Flatten a batch into one sequence instead of padding it; needs FlashAttention.",
    "precompute_ref_log_probs": "Compute the reference model's log probabilities once, before training.",
    "ref_model_mixup_alpha": "Weight of the policy when the reference model is synchronized.",
    "ref_model_sync_steps": "Steps between two synchronizations of the reference model.",
    "repetition_penalty": "Penalty of tokens seen before: above 1.0 it favors new ones.",
    "router_aux_loss_coef": "Weight of the load-balancing loss of a mixture-of-experts model; unset: the model's own.",
    "save_on_each_node": "Save checkpoints on each node, or only on the main one.",
    "sync_ref_model": "Synchronize the reference model with the policy every `ref_model_sync_steps` steps.",
    "top_entropy_quantile": "Share of tokens, those of highest entropy, that the policy loss keeps.",
    "trust_remote_code": "Run the Python code in the Hub repository of a model or tokenizer.",
    "undesirable_weight": "Weight of the losses of undesirable completions, to balance unequal numbers.",
    "use_bias_correction_kl": "Multiply the KL term by the importance sampling ratio, for an unbiased gradient.",
    "use_cache": "Use the model's key-value cache in training.",
    "use_weighting": "Weight preference pairs by the policy's probability of them, as WPO does.",
    "vllm_importance_sampling_correction": "Correct for vLLM's log probabilities, which differ from the trainer's.",
}
"""Argument -> its description, if the first clause of TRL's own is too long or too vague."""
