"""Rules about the files of a model."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.rules.model.loaded import Loaded, loaded_models, need_look
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords

# Arguments of from_pretrained by which weights are found elsewhere.
_ELSEWHERE = frozenset({"subfolder", "variant", "gguf_file", "state_dict"})


@rule("MODEL001", first=True)
def weights_can_be_loaded(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model has weights that transformers loads.

    What it does:
        Refuses a repository or folder without `model.safetensors` or `pytorch_model.bin` (or the index of their
        shards): GGUF files alone, a pipeline of diffusers, other formats, or no weights.

    Why:
        transformers looks for these names only, and ends with an `OSError`. GGUF files are made from a model to run it,
        not to train it: its page mostly names the one that they were made from.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct-GGUF", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=...)
        ```
    """
    models = list(loaded_models(context))
    for model in models:
        if why := _why_not(context.spec, model):
            base = model.facts.based_on
            usable = base is not None and model.facts.weights == "GGUF" and model.path != "reward_funcs"
            yield Found(model.path, f"{model.id} {why}", keywords({model.path: base}) if usable else "")
    for model in models:
        need_look(model)


def _why_not(spec: TrainSpec, model: Loaded) -> str:
    weights, base = model.facts.weights, model.facts.based_on
    if model.facts.library == "diffusers":
        return "is a pipeline of diffusers, not a language model: TRL does not train it"
    if weights in (None, "transformers") or not _ELSEWHERE.isdisjoint(spec.model_init_kwargs or {}):
        return ""
    if weights == "GGUF":
        made = f", made from {base}" if base else ""
        return f"has GGUF files alone{made}, which are for running a model: train the one that they were made from"
    names = "no model.safetensors and no pytorch_model.bin"
    if weights == "other":
        return f"has weights in a format that transformers does not load: {names}"
    return f"has no weights: {names}"


@rule("MODEL002")
def there_is_a_tokenizer(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model has a tokenizer.

    What it does:
        Refuses a model without any file of a tokenizer, unless `processing_class` names another's, and reward models
        in `reward_funcs` without one.

    Why:
        TRL loads the tokenizer from where the model is, and ends with "Can't instantiate a processor, a tokenizer". A
        model that was saved without its tokenizer is completed with `tokenizer.save_pretrained(folder)`.

    Example:
        ```python
        hft.SFT(model="./weights-only", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="./weights-only", processing_class="Qwen/Qwen2.5-0.5B", dataset=...)
        ```
    """
    given = context.spec.processing_class is not None
    loaded = loaded_models(context)
    readers = [model for model in loaded if (model.trained and not given) or model.path == "reward_funcs"]
    for model in readers:
        if model.facts.has_tokenizer is False and model.facts.weights == "transformers":
            base = model.facts.based_on if model.trained else None
            instead = "name its base model as processing_class" if model.trained else "save that of its base beside it"
            why = f"{model.id} has no tokenizer, which TRL loads from there: {instead}"
            yield Found(model.path, why, keywords({"processing_class": base}) if base else "")
    for model in readers:
        need_look(model)


@rule("MODEL003", severity="warning")
def names_are_today_s(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model is called as the Hub calls it today.

    What it does:
        Warns of a model that the Hub has under another name: it was renamed, or is written otherwise.

    Why:
        The Hub leads from the old name to the new one, until somebody takes the old one for something else; and what is
        saved with the trained model names the old one as its base.

    Example:
        ```python
        hft.SFT(model="gpt2", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="openai-community/gpt2", dataset=...)
        ```
    """
    for model in loaded_models(context):
        now = model.facts.current_id
        if now is not None:
            fix = keywords({model.path: now}) if model.path != "reward_funcs" else ""
            yield Found(model.path, f"{model.id} is {now} on the Hub today", fix)
