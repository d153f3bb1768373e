"""Rules about adapters, quantized weights, merged models and attention."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.modules import linear_names
from hfjobs_trainer.planning.rules.lora.fix import mended
from hfjobs_trainer.planning.rules.prec import NEWER
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change, keywords
from hfjobs_trainer.specs.requirements import package_name, stays_within

ATTENTION = ("eager", "sdpa", "flex_attention", *(f"flash_attention_{version}" for version in (2, 3, 4)), "paged|eager")
"""Implementations of attention that transformers has; 5.23: modeling_utils.py, ``AttentionInterface``."""

KERNELS = ("0.18.2", "0.19")
"""Oldest version of kernels that transformers takes, and the first that it does not; 5.23: utils/import_utils.py."""

# What a user's own adapter configuration has in place of these fields.
_OF_THE_ADAPTER = frozenset({"task_type", "adapter", "adapter_revision", "merge_first"})


@rule("TUNE001")
def quantization_needs_an_adapter(context: Context[TrainSpec]) -> Iterator[Found]:
    """Quantized weights are trained by way of an adapter only.

    What it does:
        Refuses `quantization` without `lora`, and for PPO, whose trainer loads four models.

    Why:
        Weights of 4 or 8 bits have no gradient. The trainer refuses them, but only once the model is loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., quantization="4bit")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., quantization="4bit", lora=hft.LoRA())
        ```
    """
    spec = context.spec
    if spec.quantization is None:
        return
    if spec.lora is None:
        yield Found("quantization", "quantized weights cannot be trained", "lora=hft.LoRA()")
    if type(spec).METHOD.loads_models:
        why = f"{type(spec).METHOD.label} does not train on quantized weights"
        yield Found("quantization", why, "quantization=None")


@rule("TUNE002")
def an_adapter_brings_its_configuration(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter that is trained on keeps its own configuration.

    What it does:
        Refuses other fields of `lora` beside `adapter`, unless `merge_first` makes a new adapter; and refuses
        `merge_first` and `adapter_revision` without `adapter`.

    Why:
        Rank, targets and scale are fixed in the adapter's files; other values would be dropped without a word.

    Example:
        ```python
        hft.LoRA(adapter="me/sft-adapter", r=64)
        ```

    Use instead:
        ```python
        hft.LoRA(adapter="me/sft-adapter")
        ```
        or, for a new adapter on top of the merged one:
        ```python
        hft.LoRA(adapter="me/sft-adapter", merge_first=True, r=64)
        ```
    """
    lora = context.spec.lora
    if lora is None:
        return
    if type(context.spec).METHOD.loads_models and lora.adapter is not None:
        label = type(context.spec).METHOD.label
        yield Found("lora.adapter", f"{label} starts from a model, not from an adapter: merge it into its model first")
    if lora.continues:
        for name in sorted(lora.model_fields_set - _OF_THE_ADAPTER):
            why = "is fixed by the adapter that training continues (merge_first=True trains a new one)"
            yield Found(f"lora.{name}", why, change(context.spec, {f"lora.{name}": REMOVE}))
    if lora.adapter is None:
        for name, given in (("merge_first", lora.merge_first), ("adapter_revision", lora.adapter_revision)):
            if given:
                fix = change(context.spec, {f"lora.{name}": REMOVE})
                yield Found(f"lora.{name}", "there is no adapter to start from", fix)


@rule("TUNE003")
def a_merged_start_is_merged_at_the_end(context: Context[TrainSpec]) -> Iterator[Found]:
    """A run that starts from a merged adapter ends with a merged model.

    What it does:
        Asks for `output.merge_adapter=True` beside `lora.merge_first`, and refuses `quantization` there.

    Why:
        The new adapter fits the merged weights, which are not published; loaded on the published model, it would give
        another model without an error. And merging an adapter into quantized weights loses part of it to rounding.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., lora=hft.LoRA(adapter="me/sft-adapter", merge_first=True))
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., lora=hft.LoRA(adapter="me/sft-adapter", merge_first=True),
                output=hft.Output(merge_adapter=True))
        ```
        or train the adapter on:
        ```python
        hft.DPO(model=..., dataset=..., lora=hft.LoRA(adapter="me/sft-adapter"))
        ```
    """
    spec = context.spec
    if spec.lora is None or not spec.lora.merge_first:
        return
    if context.run.merges != "only":
        why = "the new adapter would not fit the published model, which lacks the first adapter"
        yield Found("output.merge_adapter", why, change(spec, {"output.merge_adapter": True}))
    if spec.quantization is not None:
        why = "merging an adapter into quantized weights loses part of it to rounding"
        yield Found("quantization", why, "quantization=None")


@rule("TUNE004")
def merging_needs_an_adapter(context: Context[TrainSpec]) -> Iterator[Found]:
    """Only an adapter can be merged.

    What it does:
        Refuses `output.merge_adapter` without `lora`, and beside it every `hub_strategy` but `"end"` where the merged
        model alone is pushed.

    Why:
        There is nothing to merge; or an adapter would be pushed into the merged model's repository, and whoever loads
        it would get the adapter twice.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., output=hft.Output(merge_adapter=True))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), output=hft.Output(merge_adapter=True))
        ```
    """
    spec = context.spec
    if not spec.output.merge_adapter:
        return
    unset = change(spec, {"output.merge_adapter": REMOVE})
    if spec.lora is None:
        yield Found("output.merge_adapter", "there is no adapter to merge", unset)
    if type(spec).METHOD.loads_models:
        yield Found("output.merge_adapter", f"{type(spec).METHOD.label} saves its policy without merging", unset)
    if context.run.merges == "only" and spec.output.hub_strategy not in (None, "end"):
        why = "adapters would be pushed into the merged model's repository while it trains"
        yield Found("output.hub_strategy", why, change(spec, {"output.hub_strategy": "end"}))


@rule("TUNE005")
def attention_can_be_installed(context: Context[TrainSpec]) -> Iterator[Found]:
    """The attention that is asked for comes with the pinned packages.

    What it does:
        Refuses names that transformers does not know; and, beside kernels of the Hub, `use_kernels` or flash
        attention, a version of `kernels` in `extra_dependencies` that transformers does not take. Without one, the
        script brings the pinned version by itself, and kernels of the Hub stand in for flash-attn, which has no wheel
        for this torch.

    Why:
        Kernels from the Hub need `kernels>=0.18.2,<0.19`. torch's own attention (`"sdpa"`) is the default, and is
        correct with packing and padding-free batches.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., attn_implementation="flash_attention2")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., attn_implementation="sdpa")
        ```
    """
    spec = context.spec
    wanted = spec.attn_implementation or ""
    brought = {package_name(text): text for text in spec.extra_dependencies}
    kernels = "kernels" not in brought or stays_within(brought["kernels"], *KERNELS)
    flash = wanted.startswith("flash_attention") and "flash-attn" not in brought and wanted in ATTENTION
    if "/" in wanted or flash or (spec.model_init_kwargs or {}).get("use_kernels"):
        if not kernels:
            low, high = KERNELS
            why = f"kernels from the Hub need kernels>={low},<{high}, not {brought['kernels']}; the script brings it"
            path = "attn_implementation" if wanted else "model_init_kwargs"
            rest = [text for name, text in brought.items() if name != "kernels"]
            yield Found(path, why, change(spec, {"extra_dependencies": rest or REMOVE}))
    elif spec.attn_implementation is not None and wanted not in ATTENTION and not spec.trust_remote_code:
        close = difflib.get_close_matches(wanted, ATTENTION, 1, 0.5)
        why = f'transformers has no attention "{wanted}"; it has {", ".join(ATTENTION)}'
        yield Found("attn_implementation", why, keywords({"attn_implementation": close[0] if close else "sdpa"}))


@rule("TUNE006")
def options_have_an_effect(context: Context[TrainSpec]) -> Iterator[Found]:
    """Options of an adapter and of quantized weights fit each other.

    What it does:
        Refuses 4-bit options beside `"8bit"`; `layers_pattern` without `layers_to_transform`, and the latter beside
        `target_modules` that are one text; dropout and DoRA beside `target_parameters`; an odd rank beside
        `init_lora_weights="orthogonal"`.

    Why:
        The first would be dropped without a word, the others are errors of PEFT once the model is loaded.

    Example:
        ```python
        hft.LoRA(target_parameters=["mlp.experts.gate_up_proj"], lora_dropout=0.1)
        ```

    Use instead:
        ```python
        hft.LoRA(target_parameters=["mlp.experts.gate_up_proj"], lora_dropout=0.0)
        ```
    """
    spec, facts = context.spec, context.facts.model
    quantization, lora = spec.quantization, spec.lora
    if quantization is not None and quantization.bits == "8bit":
        for name in sorted(quantization.model_fields_set - {"bits"}):
            path = f"quantization.{name}"
            yield Found(path, "is an option of 4-bit quantization only", change(spec, {path: REMOVE}))
    if lora is None:
        return
    wrong: list[tuple[str, str, dict[str, Any]]] = []
    if lora.layers_pattern is not None and lora.layers_to_transform is None:
        wrong.append(("layers_pattern", "needs layers_to_transform", {"layers_pattern": None}))
    if lora.layers_to_transform is not None and isinstance(lora.target_modules, str):
        why, targets, model_type = "needs target_modules as a list of names", lora.target_modules, facts.model_type
        if targets.isidentifier():
            wrong.append(("layers_to_transform", why, {"target_modules": [targets]}))
        elif spec.trust_remote_code or (model_type and linear_names(model_type) is None):
            # nobody but the user knows the names
            yield Found("lora.layers_to_transform", why, "")
        else:
            wrong.append(("layers_to_transform", why, {"target_modules": None}))
    if lora.init_lora_weights == "orthogonal" and lora.r % 2:
        wrong.append(("r", "must be even to start from orthogonal weights", {"r": lora.r + 1}))
    if lora.target_parameters:
        if lora.use_dora:
            wrong.append(("use_dora", "PEFT has no DoRA for target_parameters", {"use_dora": None}))
        if lora.lora_dropout and "lora_dropout" in lora.model_fields_set:
            wrong.append(("lora_dropout", "PEFT has no dropout for target_parameters", {"lora_dropout": None}))
    yield from mended(context.spec, *wrong)


@rule("TUNE007", stage="run")
def quantized_adapters_are_bfloat16(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter on quantized weights is bfloat16, which fp16 cannot train.

    What it does:
        Refuses `quantization` where the arithmetic is fp16: by `fp16=True`, or since the GPU has no bfloat16. Methods
        whose trainer leaves the adapter in float32 (ORPO, CPO, Online DPO) are let through.

    Why:
        TRL turns the adapter into bfloat16 whatever the precision of the arithmetic. torch scales the gradients of
        fp16 arithmetic and cannot do so with bfloat16 ones: the run ends at its first step with `"..._unscale_cuda"
        not implemented for 'BFloat16'`.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), quantization="4bit", hardware="t4-small")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., lora=hft.LoRA(), quantization="4bit", hardware="l4x1")
        ```
    """
    flavor = context.flavor
    precision = settle_precision(context.run, flavor)
    if precision.mixed != "fp16" or not context.run.bf16_adapter:
        return
    why = "TRL keeps the adapter of a quantized model in bfloat16, which fp16 arithmetic cannot train"
    if precision.is_set:
        newer = {} if flavor is None or flavor.bf16 else {"hardware.flavor": NEWER}
        yield Found("fp16", why, change(context.spec, {"fp16": REMOVE, "bf16": REMOVE, **newer}))
    else:
        other = f"; {flavor.gpu} has no bfloat16" if flavor else ""
        yield Found("quantization", why + other, change(context.spec, {"hardware.flavor": NEWER}))


@rule("TUNE008")
def adapters_are_for_their_task(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter to start from was made for this kind of model.

    What it does:
        Refuses `lora.adapter` whose configuration names another task than the method's: a reward model's is
        `SEQ_CLS`, all others' `CAUSAL_LM`.

    Why:
        PEFT chooses by the task how it wraps the model, and ends with an error once a model of another kind is loaded.

    Example:
        ```python
        hft.Reward(model=..., dataset=..., lora=hft.LoRA(adapter="me/sft-adapter"))
        ```

    Use instead:
        ```python
        hft.Reward(model="me/sft-merged", dataset=..., lora=hft.LoRA())
        ```
    """
    spec, facts = context.spec, context.facts.adapter
    if spec.lora is None:
        return
    label, wanted = type(spec).METHOD.label, type(spec).METHOD.lora_task
    if spec.lora.task_type not in (None, wanted):
        fix = change(spec, {"lora.task_type": REMOVE})
        yield Found("lora.task_type", f"{label} trains adapters of the type {wanted}", fix)
    if spec.lora.adapter is None:
        return
    known = need(facts, f"the adapter {spec.lora.adapter}", "lora.adapter")
    task = need(known.task_type, f"the task of the adapter {spec.lora.adapter}", "lora.adapter")
    if task != wanted:
        why = f"{spec.lora.adapter} is an adapter of the type {task}, and {label} trains {wanted}"
        yield Found("lora.adapter", f"{why}: merge it, and set model to the merged model")


# Methods whose weights transformers unpacks where the GPU or a package for them is lacking, or can train as they are.
_UNPACKED = frozenset({"mxfp4", "fp8", "mxfp8", "bitnet"})


@rule("TUNE009")
def quantized_checkpoints_need_an_adapter(context: Context[TrainSpec]) -> Iterator[Found]:
    """A checkpoint that is quantized already is trained by way of an adapter only.

    What it does:
        Refuses a model whose `config.json` has a `quantization_config` (GPTQ, AWQ, bitsandbytes and others) without
        `lora`.

    Why:
        Packed weights have no gradient. The trainer refuses a "purely quantized" model, but only once it is loaded.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B-Instruct", dataset=...)
        ```
        or, with the weights as they are:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", dataset=..., lora=hft.LoRA())
        ```
    """
    spec, known = context.spec, context.facts.model
    if spec.lora is not None:
        return
    if known.quantization is None:
        need(known.model_type, f"the config.json of {spec.model}", "model")
    elif known.quantization not in _UNPACKED:
        why = f"{spec.model} is quantized ({known.quantization}), and quantized weights cannot be trained"
        yield Found("model", f"{why}, only an adapter on them", "lora=hft.LoRA()")
