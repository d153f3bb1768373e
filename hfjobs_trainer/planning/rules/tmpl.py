"""Rules about what the chat template makes of the rows."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.facts import RowFinding, TemplateFacts
from hfjobs_trainer.facts.values import ValueKind
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.rendered import rendered, rendered_with
from hfjobs_trainer.planning.rules.data.looked_at import trained_on
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords

# Models whose chat template is made of tokens that a vocabulary may have; the last one's are added where it has none
# of them, as in TRL's own example (TRL 1.16: chat_template_utils.py, clone_chat_template).
_TEMPLATES = (
    (("<|start_header_id|>", "<|eot_id|>"), "meta-llama/Llama-3.2-1B-Instruct"),
    (("<start_of_turn>", "<end_of_turn>"), "google/gemma-3-1b-it"),
    (("<|assistant|>", "<|end|>"), "microsoft/Phi-3.5-mini-instruct"),
    ((), "Qwen/Qwen3-0.6B"),
)


@rule("TMPL001")
def the_template_takes_the_rows(context: Context[TrainSpec]) -> Iterator[Found]:
    """The chat template takes the conversations of the dataset.

    What it does:
        Refuses conversations that the chat template raises at, such as a system message for Gemma 2 or two messages
        of the same role in a row. Up to 64 rows of the training dataset are rendered, with the model's own tokenizer
        and template, in a process of its own.

    Why:
        The trainer renders all rows before it trains, and ends with the template's error.

    Example:
        ```python
        hft.SFT(model="google/gemma-2-2b-it", dataset="me/conversations-with-system-messages")
        ```

    Use instead:
        ```python
        hft.SFT(model="google/gemma-3-1b-it", dataset="me/conversations-with-system-messages")
        ```
    """
    facts = context.facts
    known = rendered(context.spec, facts)
    if known is None:
        # where no rows were read, the rules about datasets say so
        if facts.template is not None:
            need(None, _lacking(context), "dataset", "model")
        return
    if (found := known.find("raises")) and not _is_explained(context):
        named = rendered_with(context.spec).chat_template_path or context.spec.tokenizer_source[0]
        why = f'the chat template of {named} refuses conversations, saying "{found.detail}"'
        yield Found("dataset", f"{why}: {_where(found, known)}")


@rule("TMPL002")
def conversations_have_a_template(context: Context[TrainSpec]) -> Iterator[Found]:
    """A model that is trained on conversations has a chat template.

    What it does:
        Refuses conversations for a model whose tokenizer has no chat template. The fix names a model whose template
        fits the vocabulary.

    Why:
        Most base models have none; TRL ends with a `ValueError` once the model is loaded.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.2-1B", dataset="trl-lib/Capybara")
        ```

    Use instead:
        ```python
        hft.SFT(
            model="meta-llama/Llama-3.2-1B",
            dataset="trl-lib/Capybara",
            chat_template_path="meta-llama/Llama-3.2-1B-Instruct",
        )
        ```
    """
    spec = context.spec
    known = rendered(spec, context.facts)
    found = known.find("no template") if known else None
    if found is None and not (known is None and _is_without(context)):
        return
    data = next(iter(context.datasets), None)
    rows = data.id if data else "the dataset"
    why = f"{spec.tokenizer_source[0]} has no chat template, and the rows of {rows} are conversations"
    if type(spec).TRAINING.renders in ("labels", "scores"):
        markers = set(known.markers) if known else set[str]()
        fits = next(name for tokens, name in _TEMPLATES if markers.issuperset(tokens))
        yield Found("chat_template_path", why, keywords({"chat_template_path": fits}))
    else:
        yield Found("model", f"{why}: name a model that has one, or use texts")


def _is_without(context: Context[TrainSpec]) -> bool:
    """Whether there is no template for conversations, as far as page and columns tell."""
    data = next(iter(context.datasets), None)
    talks = data is not None and "messages" in (data.columns or ())
    return (
        talks
        and context.facts.model.has_chat_template is False
        and rendered_with(context.spec).chat_template_path is None
        and context.spec.processing_class is None
    )


@rule("TMPL003")
def no_message_is_left_out(context: Context[TrainSpec]) -> Iterator[Found]:
    """What messages say is in the rendered rows.

    What it does:
        Refuses conversations of which the chat template leaves out what a message says, or a tool call: each text is
        looked for in the row as rendered. Templates pass over roles that they do not know, such as `human`, `gpt` and,
        in many of them, `tool`.

    Why:
        The run completes, and the model was trained on rows without these messages: on the system prompt alone, in the
        worst case.

    Example:
        ```python
        # rows such as {"messages": [{"role": "human", "content": "Hi"}, {"role": "gpt", "content": "Hello"}]}
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset="me/rows-with-other-roles")
        ```

    Use instead:
        ```python
        # the roles that the template knows: {"role": "user", ...}, {"role": "assistant", ...}
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset="me/rows")
        ```
    """
    known = rendered(context.spec, context.facts)
    if known is None:
        return
    template = f"the chat template of {context.spec.tokenizer_source[0]}"
    if (found := known.find("text")) and not _is_explained(context):
        told = f'{template} leaves out what messages of the role "{found.detail}" say, so that nothing is learned of it'
        yield Found("dataset", f"{told}: {_where(found, known)}")
    if found := known.find("call"):
        yield Found("dataset", f"{template} leaves out tool calls: {_where(found, known)}")


@rule("TMPL004", fields=["assistant_only_loss"])
def the_assistants_tokens_can_be_told(context: Context[TrainSpec]) -> Iterator[Found]:
    """With `assistant_only_loss`, the template tells which tokens are the assistant's.

    What it does:
        Refuses `assistant_only_loss=True` where the chat template has no `{% generation %}` markers, and is none of
        those for which TRL has a version that does: it knows them by their exact text.

    Why:
        TRL ends with a `ValueError` once the model is loaded.

    Example:
        ```python
        hft.SFT(model="me/model-with-its-own-template", dataset=..., assistant_only_loss=True)
        ```

    Use instead:
        ```python
        hft.SFT(model="me/model-with-its-own-template", dataset=..., assistant_only_loss=False)
        ```
    """
    known = rendered(context.spec, context.facts)
    if known is None or not known.talks or not _masks(context):
        return
    if known.has_template and not known.can_mask:
        name = context.spec.tokenizer_source[0]
        why = (
            f"the chat template of {name} does not mark the assistant's tokens with generation markers, and TRL has no "
            "version of it that does"
        )
        yield Found("assistant_only_loss", why, "assistant_only_loss=False")


@rule("TMPL005", fields=["assistant_only_loss"])
def every_row_has_an_assistant(context: Context[TrainSpec]) -> Iterator[Found]:
    """With `assistant_only_loss`, each row has something that the assistant says.

    What it does:
        Refuses rows of which, as rendered, no token is the assistant's.

    Why:
        One such row is enough for TRL to end with a `RuntimeError` while it prepares the dataset.

    Example:
        ```python
        # one row is {"messages": [{"role": "user", "content": "Hi"}]}
        hft.SFT(model=..., dataset="me/conversations", assistant_only_loss=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="me/conversations-with-answers", assistant_only_loss=True)
        ```
    """
    known = rendered(context.spec, context.facts)
    found = known.find("no assistant") if known and _masks(context) else None
    # DATA019 tells where no row has any: then it is not the loss that is to be changed
    has_none = any(finding.count == values.sampled > 1 for values, finding in trained_on(context, "no answer"))
    if known and found and not has_none:
        why = f"rows have no token of the assistant's, but messages of {found.detail}: {_where(found, known)}"
        yield Found("assistant_only_loss", why, "assistant_only_loss=False")


@rule("TMPL006", severity="warning")
def thoughts_and_tools_are_rendered(context: Context[TrainSpec]) -> Iterator[Found]:
    """The template renders thoughts and tools.

    What it does:
        Warns where the chat template drops the thoughts of a turn that is trained on (what stands between `<think>`
        and `</think>`, or in `reasoning_content`), or the tools of the column `tools`, and where it writes the
        arguments of tool calls, which OpenAI gives as JSON text, as a text with escaped quotes.

    Why:
        The model is trained to answer without the thoughts, or to call tools of which it is not told. Templates of
        models that think often keep the thoughts of the last turn alone. Arguments with escaped quotes are no object
        for what parses the calls of the trained model.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset="me/rows-with-reasoning-content")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen3-0.6B", dataset="me/rows-with-reasoning-content")
        ```
    """
    known = rendered(context.spec, context.facts)
    if known is None:
        return
    template = f"the chat template of {context.spec.tokenizer_source[0]}"
    if found := known.find("thoughts"):
        told = f"{template} drops thoughts of answers that are trained on, so that the model learns to do without them"
        yield Found("dataset", f"{told}: {_where(found, known)}")
    if found := known.find("tools"):
        yield Found("dataset", f"{template} does not render the column tools: {_where(found, known)}")
    if found := known.find("arguments"):
        told = f"{template} writes arguments of tool calls that are JSON text with escaped quotes"
        parsed = "parse them with json.loads in a function for hft.Dataset(map=...)"
        yield Found("dataset", f"{told}: {_where(found, known)}; {parsed}")


def _is_explained(context: Context[TrainSpec]) -> bool:
    """Whether rules about the rows themselves tell what a template refuses or leaves out: DATA017 and DATA018."""
    kinds: tuple[ValueKind, ...] = (
        ("other role", "parts") if context.facts.model.is_vision is False else ("other role",)
    )
    return any(trained_on(context, *kinds))


def _masks(context: Context[TrainSpec]) -> bool:
    # GKD inherits the argument, and does nothing with it
    return rendered_with(context.spec).assistant_only_loss and type(context.spec).TRAINING.renders == "labels"


def _where(found: RowFinding, known: TemplateFacts) -> str:
    """Which rows it is."""
    if found.rows == 1:
        return f"row {found.first} of the {known.rendered} looked at"
    return f"row {found.first} is the first of {found.rows} in the {known.rendered} looked at"


def _lacking(context: Context[TrainSpec]) -> str:
    known = context.facts.template
    if known is not None and known.why_not:
        return known.why_not
    return f"the rows of {context.spec.dataset.id} rendered with the chat template"
