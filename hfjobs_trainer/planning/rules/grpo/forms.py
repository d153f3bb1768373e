"""Rules about what reward functions return and read, told by their source alone."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.extras import RewardedSpec
from hfjobs_trainer.specs.reward_bodies import ONLY_NONE, body_of, form_read, wrong_result
from hfjobs_trainer.specs.rewards import RewardFunction


@rule("GRPO017", fields=["reward_funcs"])
def rewards_return_a_number_each(context: Context[RewardedSpec]) -> Iterator[Found]:
    """A reward function returns one number per completion.

    What it does:
        Refuses functions of which every `return` is, by its source alone, something else: nothing, one number for all
        completions, texts, `None` for each where there is no other reward, or an asynchronous generator.

    Why:
        TRL makes a tensor of the list that it is given, at the first step, when the model has been loaded and has
        generated; of rewards that are all `None`, nothing is learned.

    Example:
        ```python
        def length(completions, **kwargs):
            return sum(len(completion) for completion in completions)
        ```

    Use instead:
        ```python
        def length(completions, **kwargs):
            return [float(len(completion)) for completion in completions]
        ```
    """
    for reward in context.spec.reward_funcs:
        wrong = wrong_result(body_of(reward)) if isinstance(reward, RewardFunction) else None
        # one reward among others may only log
        if isinstance(reward, RewardFunction) and wrong and (wrong != ONLY_NONE or len(context.spec.reward_funcs) == 1):
            right = "return a list with a number for each completion"
            yield Found("reward_funcs", f"{reward.name} returns {wrong}: {right}")


@rule("GRPO018", fields=["reward_funcs"])
def rewards_read_the_form_that_comes(context: Context[RewardedSpec]) -> Iterator[Found]:
    """A reward function reads completions in the form in which they come.

    What it does:
        Compares how functions read a completion with the prompts of the dataset: `completion[0]["content"]` where
        prompts are texts, and methods of texts, searches and conversions where they are messages. A function that looks
        at the form itself, with `isinstance` or `try`, is left alone.

    Why:
        TRL gives a completion the form of its prompt: a text, or a list of messages. The other form is a `TypeError` at
        the first step, when the model has been loaded and has generated.

    Example:
        ```python
        def brevity(completions, **kwargs):  # prompts: [{"role": "user", "content": "..."}]
            return [-float(len(completion.strip())) for completion in completions]
        ```

    Use instead:
        ```python
        def brevity(completions, **kwargs):
            return [-float(len(completion[0]["content"].strip())) for completion in completions]
        ```
    """
    for reward in context.spec.reward_funcs:
        if not isinstance(reward, RewardFunction):
            continue
        for parameter in ("completions", "prompts"):
            read = form_read(reward, parameter)
            if read is None:
                continue
            form, text = read
            shown = text.replace("'", '"')
            for data in context.datasets:
                is_chat = need(data.facts.conversational, f"whether the prompts of {data.id} are messages", data.path)
                if is_chat is (form == "messages"):
                    continue
                reads = f"{reward.name} reads `{shown}`, and the prompts of {data.id} are"
                each = "each completion" if parameter == "completions" else "each prompt"
                if is_chat:
                    index = '[0]["content"]' if parameter == "completions" else '[-1]["content"]'
                    yield Found("reward_funcs", f"{reads} messages, so {each} is a list: take its text by `{index}`")
                else:
                    yield Found("reward_funcs", f"{reads} texts, so {each} is a text: use it as it is")
