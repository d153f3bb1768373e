"""The model of a run without its weights, of the class that transformers would load."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hfjobs_trainer.simulating.fused import fuse_kernels
from hfjobs_trainer.simulating.kernels import use_flash
from hfjobs_trainer.simulating.quantized import quantize_layers
from hfjobs_trainer.simulating.request import Request

# Other names of the same number, by config class.
_ALIASES = {"num_experts": ("num_local_experts", "n_routed_experts")}
# Names of projections in models that transformers does not have, and of the same ones in Llama.
_LLAMA_NAMES = {
    **dict.fromkeys(("c_attn", "W_pack", "query_key_value", "qkv_proj"), ("q_proj", "k_proj", "v_proj")),
    "c_proj": ("o_proj", "down_proj"),
    "w1": ("up_proj",),
    "w2": ("gate_proj",),
}
# Tolerance of the number of parameters of the built class, as a share of the model's own.
PARAMETER_TOLERANCE = 0.02
# Options of TRL's fused head that the trainer of each step uses (TRL 1.16: trainer/*_trainer.py, add_fused_lm_head).
_OUTPUTS = {
    "next_token": ("log_probs", "entropy", "is_top1"),
    "preference": ("log_probs", "entropy", "mean_logits", "is_top1"),
    "unpaired": ("log_probs", "entropy", "mean_logits"),
    "policy_gradient": ("log_probs", "entropy"),
}


class UnsupportedError(Exception):
    """The run cannot be simulated, for this reason."""


@dataclass(frozen=True, slots=True)
class Models:
    """The model that is trained, its frozen copy, and its decoder layers."""

    trained: nn.Module
    reference: nn.Module | None
    layers: nn.ModuleList

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that the optimizer is given."""
        return [parameter for parameter in self.trained.parameters() if parameter.requires_grad]


def config_of(numbers: Mapping[str, Any], layers: int | None = None) -> Any:
    """The configuration of the model's class, at its own depth or at another.

    Raises:
        UnsupportedError: transformers has no such class, or it does not accept the numbers.
    """
    from transformers import AutoConfig

    values = {name: value for name, value in numbers.items() if name != "model_type"}
    if layers is not None:
        values["num_hidden_layers"] = layers
    # a type that transformers does not have is taken for the most common one
    kind = str(numbers.get("model_type") or "llama")
    if not _is_known(kind):
        kind = "llama"
    plain = AutoConfig.for_model(kind)
    text = plain.get_text_config(decoder=True)
    if text is not plain:
        kind, plain = text.model_type, text
    given: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(getattr(type(plain), name, None), property):
            continue  # derived from other numbers
        known = next((each for each in (name, *_ALIASES.get(name, ())) if hasattr(plain, each)), name)
        given[type(plain).attribute_map.get(known, known)] = value
    try:
        config = type(plain)(**given)
    except Exception as error:  # each class validates its numbers in its own way
        raise UnsupportedError(f"{kind} does not accept these numbers: {error}") from error
    return config


def period_of(config: Any) -> int:
    """Layers after which the kinds of layers repeat: 1 if all are alike."""
    kinds = list(getattr(config, "layer_types", None) or [])
    for period in range(1, len(kinds) // 2 + 1):
        if all(kind == kinds[index % period] for index, kind in enumerate(kinds)):
            return period
    step = int(getattr(config, "decoder_sparse_step", 1) or 1)
    if len(set(kinds)) > 1:
        raise UnsupportedError("its layers alternate without a pattern")
    return max(1, step)


def build_models(request: Request, config: Any) -> Models:
    """The models on torch's meta device.

    Raises:
        UnsupportedError: transformers or PEFT raise an error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trained: Any = _build(request, config)
            reference = _build(request, config) if request.reference_model else None
            if request.tuning == "lora":
                trained = _adapt(request, trained)
        except UnsupportedError:
            raise
        except Exception as error:  # whatever transformers or PEFT raise
            raise UnsupportedError(f"{type(error).__name__}: {error}") from error
        if reference is not None:
            reference.requires_grad_(False).eval()
        if request.gradient_checkpointing:
            trained.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            if request.tuning == "lora":
                trained.enable_input_require_grads()
    return Models(trained.train(), reference, decoder_layers(trained, config.num_hidden_layers))


def _build(request: Request, config: Any) -> nn.Module:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from trl.trainer.utils import add_fused_lm_head

    if request.attention == "eager":
        config._attn_implementation = "eager"
    config.use_cache = False
    dtype: Any = getattr(torch, request.dtype)
    model: Any
    with torch.device("meta"):
        if request.logits == "none":
            config.num_labels, config.pad_token_id = 1, 0
            model = AutoModelForSequenceClassification.from_config(config, dtype=dtype)
        else:
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if request.attention == "flash" and model.config._attn_implementation == "eager":
        use_flash(model.config)
    if request.fused_kernels != "none":
        fuse_kernels(model, mlps=request.fused_kernels == "all")
    if request.logits == "fused":
        add_fused_lm_head(model, outputs=_OUTPUTS[request.step])
    if request.quantization:
        compute: Any = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(request.mixed_precision or "", dtype)
        head = model.score if request.logits == "none" else model.get_output_embeddings()
        quantize_layers(model, {head}, compute, request.quantization == "4bit-double")
        model.requires_grad_(False)
    return model


def _adapt(request: Request, model: Any) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    targets = request.lora_targets
    if isinstance(targets, list) and not _is_known(str(request.model.get("model_type"))):
        targets = [name for target in targets for name in _LLAMA_NAMES.get(target, (target,))]
    adapter = LoraConfig(
        r=request.lora_r,
        target_modules=targets,
        lora_dropout=request.lora_dropout,
        use_dora=request.lora_dora,
        modules_to_save=request.modules_to_save or None,
        task_type="SEQ_CLS" if request.logits == "none" else "CAUSAL_LM",
    )
    adapted = get_peft_model(model, adapter, low_cpu_mem_usage=True)
    # TRL casts what is trained on quantized weights to bfloat16 (TRL 1.16: trainer/sft_trainer.py)
    wanted = request.adapter_dtype or ("bfloat16" if request.quantization else None)
    for parameter in adapted.parameters():
        if parameter.requires_grad and wanted:
            parameter.data = parameter.data.to(getattr(torch, wanted))
    return adapted


def _is_known(kind: str) -> bool:
    from transformers import CONFIG_MAPPING

    return kind in CONFIG_MAPPING


def decoder_layers(model: nn.Module, count: int) -> nn.ModuleList:
    """The list of a model's decoder layers."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and hasattr(module[0], "forward"):
            return module
    raise UnsupportedError("its decoder layers were not found")


def count_parameters(model: nn.Module) -> int:
    """Parameters of a model before adapters and quantization; tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def make_fake(*models: nn.Module | None) -> None:
    """Give every tensor on the meta device a fake one on the CPU; to be called under ``FakeTensorMode``."""
    made: dict[int, Any] = {}

    def fake(tensor: torch.Tensor) -> Any:
        if id(tensor) not in made:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
        return made[id(tensor)]

    kept: list[object] = []  # so that no id is used twice
    for model in models:
        for module in model.modules() if model is not None else ():
            for store in (module._parameters, module._buffers, module.__dict__):
                for name, value in list(store.items()):
                    if isinstance(value, torch.Tensor):
                        kept.append(value)
                        store[name] = fake(value)
