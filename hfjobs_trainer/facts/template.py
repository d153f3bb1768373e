"""Facts about rows once they are rendered with the chat template and the tokenizer of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FindingKind = Literal[
    "no template", "no end", "raises", "text", "call", "tools", "thoughts", "arguments", "no assistant"
]
"""What may be found: a conversation without a chat template, a plain text without an EOS token to end it, a template
that raises, one that leaves out a text, a tool call, the tools or the thoughts of a message, or that writes the
arguments of a call as a text within a text, a row without a token of the assistant's."""


@dataclass(frozen=True, slots=True)
class RowFinding:
    """Something that is found in some of the rows.

    Attributes:
        kind: What it is.
        first: Number of the first such row among those that were read, from 0.
        rows: Number of such rows.
        detail: Message of the template, or the role of the message; at most 160 characters.
    """

    kind: FindingKind
    first: int
    rows: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SequenceTokens:
    """A sequence of tokens, before anything is cut.

    Attributes:
        row: Number of its row among those that were read, from 0; both sequences of a pair have the same.
        tokens: Its tokens.
        trained: The spans that are trained, each with its first place and the place after its last; none of a prompt
            for which answers are generated.
    """

    row: int
    tokens: int
    trained: tuple[tuple[int, int], ...] = ()

    def kept(self, limit: int | None, end: Literal["start", "end"] = "start") -> int:
        """Trained tokens that are left if no more than ``limit`` tokens are kept, from the start or from the end."""
        first, last = 0, self.tokens
        if limit is not None:
            first, last = (0, limit) if end == "start" else (max(0, self.tokens - limit), self.tokens)
        return sum(max(0, min(stop, last) - max(start, first)) for start, stop in self.trained)


@dataclass(frozen=True, slots=True)
class RenderedWith:
    """What of a spec decides how rows are rendered; rules compare it with the spec that they check.

    Attributes:
        renders: ``Training.renders`` of the method.
        chat_template_path: As in the spec.
        assistant_only_loss: As in the spec.
        completion_only_loss: As in the spec.
        processing_class: As in the spec.
    """

    renders: str
    chat_template_path: str | None = None
    assistant_only_loss: bool = False
    completion_only_loss: bool | None = None
    processing_class: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """Up to 64 rows of the training dataset, rendered as TRL's trainer renders them. No row is kept.

    Attributes:
        rendered: Number of rows that were looked at.
        made_with: What of the spec decided how.
        why_not: Why there is no more than this: no library, no time, a tokenizer that cannot be loaded; empty if there
            is.
        talks: How many of them are conversations.
        skipped: How many were passed over, since they are not of a form that can be rendered.
        has_template: Whether there is a chat template.
        can_mask: Whether the template marks the assistant's tokens, or TRL knows one in its place that does.
        cloned: Whether the tokenizer has template, tokens and end of sequence of the one that ``chat_template_path``
            names: the embedding then grows with it.
        eos_token, pad_token: Those of the tokenizer, as the trainer would have them; ``None``: it has none.
        not_in_vocabulary: ``eos_token`` and ``pad_token`` of the spec, if the vocabulary lacks them.
        stops: Tokens at which the model stops by its generation config.
        specials: Special tokens among the trained ones.
        turn_end: Special token with which the trained turns of most conversations end.
        markers: Well-known tokens of chat templates in the vocabulary: those of ``MARKERS``.
        size: Tokens in the vocabulary.
        largest: The largest number of a token in the rows, or of the padding or end of sequence.
        sequences: The sequences of the rows.
        findings: What was found.
    """

    rendered: int = 0
    made_with: RenderedWith | None = None
    why_not: str = ""
    talks: int = 0
    skipped: int = 0
    has_template: bool | None = None
    can_mask: bool | None = None
    cloned: bool = False
    eos_token: str | None = None
    pad_token: str | None = None
    not_in_vocabulary: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    specials: tuple[str, ...] = ()
    turn_end: str | None = None
    markers: tuple[str, ...] = ()
    size: int | None = None
    largest: int | None = None
    sequences: tuple[SequenceTokens, ...] = ()
    findings: tuple[RowFinding, ...] = ()

    def find(self, kind: FindingKind) -> RowFinding | None:
        """What was found of this kind."""
        return next((found for found in self.findings if found.kind == kind), None)


MARKERS = (
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|start_header_id|>", "<end_of_turn>", "<start_of_turn>"),
    *("<|end|>", "<|assistant|>", "[INST]", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"),
)
"""Tokens by which a vocabulary shows which chat templates it was made for, and with which texts end."""
