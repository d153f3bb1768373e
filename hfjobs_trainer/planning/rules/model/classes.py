"""Rules about the class of a model: whether transformers has it, and whether it does what the method needs."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model import architectures as known
from hfjobs_trainer.planning.rules.model.loaded import Loaded, loaded_models, need_look, trains_a_score, trusts
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change

_CAUSAL = "AutoModelForCausalLM"


@rule("MODEL004", first=True)
def types_are_implemented(context: Context[TrainSpec]) -> Iterator[Found]:
    """Transformers has the architecture.

    What it does:
        Refuses a model whose `model_type` the pinned transformers does not have, and which brings no code of its own.

    Why:
        "Transformers does not recognize this architecture": it is newer than the pinned version, or another library's.
        The versions in a script were tested together, so they are not moved one by one.

    Example:
        ```python
        hft.SFT(model="someone/next-years-model", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen3-0.6B", dataset=...)
        ```
    """
    models = list(loaded_models(context))
    for model in models:
        kind = model.facts.model_type
        if kind is not None and not known.is_implemented(kind) and not model.facts.auto_classes and _is_read(model):
            why = f'{model.id} is of the type "{kind}", which transformers {known.version()} does not have'
            yield Found(model.path, why)
    for model in models:
        need_look(model)


def _is_read(model: Loaded) -> bool:
    """Whether its ``config.json`` was read; the Hub's summary of a gated one does not say whether it brings code."""
    return model.facts.auto_classes is not None or model.facts.architectures is not None


@rule("MODEL005", first=True)
def own_code_is_trusted(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model that needs its own code has it run.

    What it does:
        Refuses a model whose repository brings code (`auto_map` in `config.json`) where transformers cannot load it
        without, unless `trust_remote_code=True`. Where transformers has the architecture itself, that is used.

    Why:
        transformers asks whether to run the code, and a job cannot answer. Read it first: it runs with the job's
        secrets. `model_revision` keeps it from being changed afterwards.

    Example:
        ```python
        hft.SFT(model="someone/custom-model", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="someone/custom-model", model_revision="<commit you have read>", dataset=...,
                trust_remote_code=True)
        ```
    """
    if trusts(context.spec):
        return
    for model in loaded_models(context):
        kind, brought, classes = model.facts.model_type, model.facts.auto_classes, model.facts.architectures
        if not brought or kind is None:
            continue
        missing_class = bool(classes) and known.kind_of((classes or ("",))[0]) == "unknown"
        lacks_model = _CAUSAL in brought and missing_class and not known.writes_text(kind) and not model.scores
        if ("AutoConfig" in brought and not known.is_implemented(kind)) or lacks_model:
            why = f"{model.id} is loaded by code of its own, which runs only if you trust it"
            yield Found(model.path, why, change(context.spec, {"trust_remote_code": True}))


@rule("MODEL006")
def policies_write_text(context: Context[TrainSpec]) -> Iterator[Found]:
    """The model that is trained to write can write.

    What it does:
        Where the method trains a language model, refuses classifiers and reward models, encoders and embedding models
        (BERT), encoder-decoder models (T5), bare models without a head, and a class that transformers does not have.

    Why:
        TRL loads the class that `architectures` in `config.json` names. Without a language-model head the trainer ends
        with an `AttributeError` or a `ValueError` once the weights are loaded; those trainers that load
        `AutoModelForCausalLM` would train on a head of random numbers.

    Example:
        ```python
        hft.SFT(model="google-bert/bert-base-uncased", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=...)
        ```
    """
    for model in loaded_models(context):
        if model.scores:
            continue
        classes = model.facts.architectures
        if not classes:
            need_look(model)
            continue
        brings_code = bool(model.facts.auto_classes)
        if brings_code and (trusts(context.spec) or known.kind_of((*classes, "")[0]) == "unknown"):
            continue
        if why := _why_not(context, classes):
            yield Found(model.path, f"{model.id} {why}")


def _why_not(context: Context[TrainSpec], classes: tuple[str, ...]) -> str:
    # the experimental trainers, and those that are given a model, load AutoModelForCausalLM whatever it says
    is_named = not type(context.spec).METHOD.experimental
    name = classes[0]
    kind = known.kind_of(name)
    if kind == "score":
        return f"is a {name}, a classifier or reward model: {type(context.spec).METHOD.label} needs a language model"
    if kind == "other":
        return f"is a {name}, which does not write text token by token"
    if kind == "unknown" and is_named:
        return f'is of the class "{name}", which transformers {known.version()} does not have'
    return ""


@rule("MODEL007")
def scores_are_one_number(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model that scores gives one number, and has learned it.

    What it does:
        Refuses a model of which transformers has no class that scores (for `Reward`, and as a reward or value model), a
        classifier with several labels, and a language model as the source of rewards.

    Why:
        TRL loads a `...ForSequenceClassification` with one label. Weights for several do not fit (a `RuntimeError`),
        and a language model has none for it: the head is filled with random numbers, and so the policy would be trained
        on random rewards.

    Example:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=..., reward_funcs="Qwen/Qwen2.5-7B-Instruct")
        ```

    Use instead:
        ```python
        hft.GRPO(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=..., reward_funcs="Skywork/Skywork-Reward-V2-Qwen3-0.6B")
        ```
    """
    if trusts(context.spec):
        return
    for model in loaded_models(context):
        if not model.scores:
            continue
        kind = model.facts.model_type
        if kind is None:
            need_look(model)
            continue
        name = next(iter(model.facts.architectures or ()), "")
        does = known.kind_of(name)
        if not known.can_score(kind):
            if known.is_implemented(kind):
                yield Found(model.path, f'{model.id} is of the type "{kind}", of which no class scores')
        elif does == "score" and (model.facts.num_labels or 1) > 1:
            why = f"{model.id} has {model.facts.num_labels} labels, and TRL loads a model that scores with one"
            yield Found(model.path, why)
        elif does in ("language", "other") and model.judges:
            why = f"{model.id} is a {name} that has not learned to score: its rewards would be random"
            yield Found(model.path, f"{why}; hft.Reward makes a reward model of it")


@rule("MODEL008")
def dense_models_have_no_router(context: Context[TrainSpec]) -> Iterator[Found]:
    """The loss of a router needs a router.

    What it does:
        Refuses `router_aux_loss_coef`, and `output_router_logits` or `router_aux_loss_coef` in `model_init_kwargs`, for
        a model that is no mixture of experts, or whose router gives nothing back.

    Why:
        TRL raises a `ValueError`, and the model's class a `TypeError`, once the weights are loaded.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., router_aux_loss_coef=0.001)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen3-30B-A3B", dataset=..., router_aux_loss_coef=0.001)
        ```
    """
    spec, name = context.spec, "router_aux_loss_coef"
    inner = [key for key in ("output_router_logits", name) if key in (spec.model_init_kwargs or {})]
    given = context.field(name, float)
    if (not given and not inner) or trusts(spec):
        return
    kind = need(context.facts.model.model_type, f"the config.json of {spec.model}", "model")
    if known.returns_router_logits(kind) or context.facts.model.num_experts or not known.is_implemented(kind):
        return
    why = f"{spec.model} has no router whose loss could be added: it is no mixture of experts"
    if given:
        yield Found(name, why, change(spec, {name: REMOVE}))
    if inner:
        rest = {key: value for key, value in (spec.model_init_kwargs or {}).items() if key not in inner}
        yield Found("model_init_kwargs", why, change(spec, {"model_init_kwargs": rest or None}))


@rule("MODEL009", severity="warning")
def embedding_models_are_for_embedding(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model that writes was trained to write.

    What it does:
        Warns where the method trains a language model, and the model is one of sentence-transformers.

    Why:
        It was trained to embed texts, and has forgotten how to write them, whatever its class; the model that it was
        made from writes better.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen3-Embedding-0.6B", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen3-0.6B-Base", dataset=...)
        ```
    """
    spec, model = context.spec, context.facts.model
    if model.library == "sentence-transformers" and not trains_a_score(spec):
        fix = change(spec, {"model": model.based_on}) if model.based_on else ""
        yield Found("model", f"{spec.model} was made to embed texts, not to write them", fix)
