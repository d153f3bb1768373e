"""Rules about the tokens of the rows, and about the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.rendered import (
    by_row,
    end_of_sequence,
    enough_for,
    field_of,
    is_trained,
    limit_of,
    longest_of_rows,
    rendered,
    share_lost,
)
from hfjobs_trainer.planning.rules.model.lengths import reach
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords

# Tokens that end a text, as vocabularies have them, those that end a turn first.
_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")


@rule("TOK001", any_field=["eos_token", "pad_token"])
def special_tokens_are_in_the_vocabulary(context: Context[TrainSpec]) -> Iterator[Found]:
    """`eos_token` and `pad_token` are in the vocabulary.

    What it does:
        Refuses an `eos_token` or a `pad_token` that the model's tokenizer does not have.

    Why:
        TRL ends with a `ValueError` once the model is loaded.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., eos_token="<|eot_id|>")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., eos_token="<|im_end|>")
        ```
    """
    known = rendered(context.spec, context.facts)
    for name in ("eos_token", "pad_token"):
        value = field_of(context.spec, name)
        if known and isinstance(value, str) and value in known.not_in_vocabulary:
            why = f'"{value}" is not in the vocabulary of {context.spec.tokenizer_source[0]}'
            instead = known.turn_end if name == "eos_token" else None
            yield Found(name, why, keywords({name: instead}))


@rule("TOK002")
def a_tokenizer_ends_and_pads(context: Context[TrainSpec]) -> Iterator[Found]:
    """The tokenizer has a token that ends a sequence, and one that pads.

    What it does:
        Refuses a tokenizer with neither an EOS nor a padding token, and one without an EOS token for plain texts.

    Why:
        TRL ends each plain text with the EOS token, and pads with it where there is no padding token; without them the
        trainer fails once the model is loaded.

    Example:
        ```python
        hft.SFT(model="me/model-with-a-bare-tokenizer", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="me/model-with-a-bare-tokenizer", dataset=..., eos_token="</s>")
        ```
    """
    known = rendered(context.spec, context.facts)
    if known is None or end_of_sequence(context.spec, known) is not None:
        return
    if known.find("no end"):
        lacks = "no EOS token, with which each text is to end"
    elif known.pad_token is None and not isinstance(field_of(context.spec, "pad_token"), str):
        lacks = "neither an EOS nor a padding token"
    else:
        return
    path = "eos_token" if "eos_token" in type(context.spec).model_fields else "model"
    end = next((token for token in _ENDS if token in known.markers), None)
    fix = keywords({path: end}) if path == "eos_token" and end else ""
    yield Found(path, f"the tokenizer of {context.spec.tokenizer_source[0]} has {lacks}", fix)


@rule("TOK003", severity="warning", fields=["eos_token"])
def the_end_is_trained(context: Context[TrainSpec]) -> Iterator[Found]:
    """The token that ends a sequence is among those that are trained.

    What it does:
        Warns where no conversation, as rendered, has the tokenizer's EOS token, nor another at which the model stops by
        its generation config, among its trained tokens: the case of base models that come with a chat template.

    Why:
        The model learns to end a turn with another token, and is saved with an EOS token that it never gives: it does
        not stop.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", eos_token="<|im_end|>")
        ```
    """
    known = rendered(context.spec, context.facts)
    # a reward model gives no answers
    if known is None or known.turn_end is None or type(context.spec).TRAINING.renders == "scores":
        return
    end = end_of_sequence(context.spec, known)
    if end is None or end in known.not_in_vocabulary or {end, *known.stops} & set(known.specials):
        return
    why = (
        f'no trained token is "{end}", with which the model is saved as its end of sequence: turns end with '
        f'"{known.turn_end}", and the model would not stop'
    )
    yield Found("eos_token", why, keywords({"eos_token": known.turn_end}))


@rule("TOK004")
def tokens_are_in_the_embedding(context: Context[TrainSpec]) -> Iterator[Found]:
    """The model has an embedding for each token.

    What it does:
        Refuses rows with a token, or an EOS or padding token, whose number is beyond the model's `vocab_size`.

    Why:
        Tokens that were added to the tokenizer alone have no embedding: the first batch with one ends in an index
        error, on a GPU in an assertion that does not say why.

    Example:
        ```python
        hft.SFT(model="me/model-with-added-tokens", dataset=...)
        ```

    Use instead:
        ```python
        # once: model.resize_token_embeddings(len(tokenizer)), and push both
        hft.SFT(model="me/model-with-resized-embedding", dataset=...)
        ```
    """
    known, size = rendered(context.spec, context.facts), context.facts.model.vocab_size
    if known is None or known.largest is None or size is None or known.cloned:
        return
    if known.largest >= size:
        name = context.spec.tokenizer_source[0]
        why = (
            f"the tokenizer of {name} gives tokens up to number {known.largest}, and the embedding of the model has "
            f"{size}: resize it to the {known.size} of the vocabulary, and save both"
        )
        yield Found("model", why)


@rule("TOK005", severity="warning")
def rows_are_within_the_positions(context: Context[TrainSpec]) -> Iterator[Found]:
    """Rows that nothing cuts are no longer than the model's positions.

    What it does:
        Warns where rows have more tokens than the model's `max_position_embeddings`, and no `max_length` cuts them.

    Why:
        A model with learned positions fails; one with rotary positions was never trained that far.

    Example:
        ```python
        hft.SFT(model="HuggingFaceTB/SmolLM2-135M", dataset="me/books", max_length=None)
        ```

    Use instead:
        ```python
        hft.SFT(model="HuggingFaceTB/SmolLM2-135M", dataset="me/books", max_length=8192)
        ```
    """
    spec = context.spec
    known, most = rendered(spec, context.facts), reach(context)
    cuts = type(spec).TRAINING.long_rows is not None
    if known is None or most is None or (cuts and field_of(spec, "max_length") is not None):
        return
    longest = max(longest_of_rows(known), default=0)
    if longest > most:
        why = f"rows have up to {longest} tokens, and {spec.model} has {most} positions"
        yield Found("max_length" if cuts else "dataset", why, f"max_length={most}" if cuts else "")


@rule("TOK006")
def something_is_trained(context: Context[TrainSpec]) -> Iterator[Found]:
    """Some token of some row is trained.

    What it does:
        Refuses a run of whose rows, as far as they were read, none keeps a token to train on: because `max_length`
        leaves the prompt alone, or drops the rows, or because the answers are empty. Warnings tell of fewer.

    Why:
        TRL drops such rows in silence, and ends with an error of an empty dataset, or trains on nothing.

    Example:
        ```python
        hft.SFT(model=..., dataset="me/long-prompts-with-short-completions", max_length=128)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="me/long-prompts-with-short-completions", max_length=4096)
        ```
    """
    spec = context.spec
    known = rendered(spec, context.facts)
    rows = by_row(known) if known else []
    if not known or not rows or type(spec).TRAINING.renders == "prompts":
        return
    trained = [row for row in rows if is_trained(row)]
    limit = limit_of(spec)
    if not trained:
        # of rows without an assistant, TMPL005 or DATA019 tells
        if known.find("no assistant"):
            return
        yield Found("dataset", f"none of the {len(rows)} rows looked at has a token to train on")
    elif share_lost(trained, spec, limit) == 1:
        why = f"max_length={limit} leaves nothing to train on of any of the {len(trained)} rows looked at"
        enough = enough_for(known, 0.99, reach(context))
        if share_lost(trained, spec, enough) < 1:
            yield Found("max_length", f"{why}; {enough} are enough for most of them", f"max_length={enough}")
        else:
            yield Found("max_length", f"{why}, and the model has no more positions")


@rule("TOK007", severity="warning")
def every_row_is_trained(context: Context[TrainSpec]) -> Iterator[Found]:
    """Each row has a token to train on.

    What it does:
        Warns of rows that have none before anything is cut, such as a prompt with an empty completion.

    Why:
        Nothing is learned of them, and TRL says nothing.

    Example:
        ```python
        hft.SFT(model=..., dataset="me/rows-some-without-an-answer")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="me/rows-that-are-answered")
        ```
    """
    spec = context.spec
    known = rendered(spec, context.facts)
    rows = by_row(known) if known else []
    if not known or type(spec).TRAINING.renders in ("prompts", "scores") or known.find("no assistant"):
        return
    empty = [row for row in rows if not is_trained(row)]
    if empty and len(empty) < len(rows):
        first = empty[0][0].row
        more = (
            f" is the first of {len(empty)} in the {known.rendered}" if len(empty) > 1 else f" of the {known.rendered}"
        )
        yield Found("dataset", f"rows have no token to train on: row {first}{more} looked at")
