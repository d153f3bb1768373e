"""Rules about the models beside the one that is trained."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.extras import ScoredSpec, TaughtSpec
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.referenced import ReferencedSpec


@rule("SIDE001", fields=["teacher_model"])
def teacher_shares_the_vocabulary(context: Context[TaughtSpec]) -> Iterator[Found]:
    """Teacher and student share a vocabulary.

    What it does:
        Refuses a `teacher_model` whose `vocab_size` is not the model's.

    Why:
        The two are compared token by token, over the whole vocabulary; TRL raises a `ValueError`, but only once both
        models are loaded.

    Example:
        ```python
        hft.Distillation(model="Qwen/Qwen2.5-0.5B-Instruct", teacher_model="meta-llama/Llama-3.1-8B-Instruct",
                         dataset=...)
        ```

    Use instead:
        ```python
        hft.Distillation(model="Qwen/Qwen2.5-0.5B-Instruct", teacher_model="Qwen/Qwen2.5-3B-Instruct", dataset=...)
        ```
    """
    spec, facts = context.spec, context.facts
    student = need(facts.model.vocab_size, f"the vocabulary of {spec.model}", "model", "teacher_model")
    teacher = need(_vocabulary(facts.teacher), f"the vocabulary of {spec.teacher_model}", "model", "teacher_model")
    if student != teacher:
        why = f"{spec.teacher_model} has a vocabulary of {teacher} tokens, {spec.model} one of {student}"
        yield Found("teacher_model", f"{why}: a teacher of the same family shares it")


@rule("SIDE002", fields=["reward_model", "value_model"])
def models_share_the_tokenizer(context: Context[ScoredSpec]) -> Iterator[Found]:
    """The reward model reads the policy's tokens.

    What it does:
        Refuses a `reward_model` or `value_model` whose `vocab_size` is not the model's.

    Why:
        `PPOTrainer` gives them the token ids that the policy wrote. With another vocabulary the ids mean something
        else, or lie outside the embedding, which ends a GPU run with a device-side assert.

    Example:
        ```python
        hft.PPO(model="Qwen/Qwen2.5-0.5B-Instruct", reward_model="OpenAssistant/reward-model-deberta-v3-large-v2",
                dataset=...)
        ```

    Use instead:
        ```python
        hft.PPO(model="Qwen/Qwen2.5-0.5B-Instruct", reward_model="username/qwen-reward", dataset=...)
        ```
    """
    spec, facts = context.spec, context.facts
    beside = [("reward_model", spec.reward_model, facts.reward_model)]
    if spec.value_model is not None:
        beside.append(("value_model", spec.value_model, facts.value_model))
    policy = need(facts.model.vocab_size, f"the vocabulary of {spec.model}", "model")
    for path, model, known in beside:
        size = need(_vocabulary(known), f"the vocabulary of {model}", path)
        if size != policy:
            why = f"{model} has a vocabulary of {size} tokens, {spec.model} one of {policy}"
            yield Found(path, f"{why}: one that hft.Reward trains from {spec.model} shares it")


@rule("SIDE003", fields=["ref_model"])
def reference_reads_the_same_tokens(context: Context[ReferencedSpec]) -> Iterator[Found]:
    """Model and reference share a vocabulary.

    What it does:
        Refuses a `ref_model` whose `vocab_size` is not the model's.

    Why:
        The trainer gives the reference the model's token ids. With another vocabulary they mean something else, or lie
        outside the embedding, which ends a GPU run with a device-side assert.

    Example:
        ```python
        hft.DPO(model="Qwen/Qwen2.5-0.5B-Instruct", ref_model="meta-llama/Llama-3.2-1B-Instruct", dataset=...)
        ```

    Use instead:
        ```python
        hft.DPO(model="Qwen/Qwen2.5-0.5B-Instruct", dataset=...)
        ```
    """
    spec, facts = context.spec, context.facts
    if spec.ref_model is None:
        return
    policy = need(facts.model.vocab_size, f"the vocabulary of {spec.model}", "model", "ref_model")
    reference = need(_vocabulary(facts.ref_model), f"the vocabulary of {spec.ref_model}", "model", "ref_model")
    if policy != reference:
        why = f"{spec.ref_model} has a vocabulary of {reference} tokens, {spec.model} one of {policy}"
        yield Found("ref_model", f"{why}: the reference must read the model's tokens", keywords({"ref_model": None}))


def _vocabulary(model: ModelFacts | None) -> int | None:
    return model.vocab_size if model is not None else None
