"""Rows rendered with the model's chat template and tokenizer, by a process that alone imports transformers and TRL."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.answers import KEPT_SECONDS
from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.facts import RenderedWith, RowFinding, SequenceTokens, TemplateFacts
from hfjobs_trainer.facts.template import MARKERS
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.children import Warm
from hfjobs_trainer.gathering.light_environment import LightEnvironment, is_here, label
from hfjobs_trainer.gathering.rows import spread
from hfjobs_trainer.gathering.tokenizer_files import TokenizerFiles
from hfjobs_trainer.gathering.values import Json, as_json
from hfjobs_trainer.planning.rendered import chat_template_kwargs, field_of, rendered_with

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

MAX_ROWS = 64
"""Rows that are rendered."""
SECONDS = 20.0
"""What that may take, the start of the process included."""
_MAX_ANSWER = 2 * 1024**2
_MAX_QUESTION = 32 * 1024**2
# Answers that are kept on disk, each of some kilobytes.
_KEPT = 256
_COLUMNS = ("messages", "conversations", "prompt", "completion", "chosen", "rejected", "label", "tools")

_INSTALL = 'pip install "hfjobs-trainer[local]"'
WITHOUT_LIBRARIES = f"transformers and TRL, which render rows: {_INSTALL}"
"""Why there is nothing in an environment that lacks the libraries, and what mends it."""

# What took too long, and until when it is not tried again: a sweep waits for it once.
_given_up: dict[str, float] = {}
_environment = LightEnvironment()
_warm = Warm("hfjobs_trainer.tokenizing", most_bytes=_MAX_ANSWER)


@dataclass(frozen=True, slots=True)
class Source:
    """The tokenizers of a spec.

    Attributes:
        model: That of the model.
        cloned: That which ``chat_template_path`` names, if it is a model.
        template: The template in the file that it names, if it is one.
    """

    model: TokenizerFiles
    cloned: TokenizerFiles | None = None
    template: str | None = None


def start(*, offline: bool) -> None:
    """Start the process that renders, which then imports what it needs, or the making of an environment for it."""
    if is_here():
        attempt(_warm.start)
    else:
        _environment.begin(offline=offline)


def render(spec: TrainSpec, rows: Sequence[Json], source: Source, *, vision: bool, offline: bool) -> TemplateFacts:
    """Render up to ``MAX_ROWS`` of the rows, as the method's trainer would.

    What was rendered once is known again from the cache of this package, by rows, tokenizer, template and versions.

    Args:
        spec: What is to be trained.
        rows: The rows, as TRL gets them.
        source: Tokenizer and template.
        vision: Whether the model takes images, so that it has a processor.
        offline: Whether nothing may be downloaded for it.
    """
    how = rendered_with(spec)
    until = time.monotonic() + SECONDS
    chosen = spread(list(enumerate(rows)), MAX_ROWS)
    question = _question(spec, how, chosen, source, vision=vision)
    if question is None:
        return TemplateFacts(made_with=how, why_not="rows that can be written as JSON, in a few megabytes")
    key = _key(question)
    answer = attempt(lambda: _kept(key))
    if answer is None:
        python = _environment.python(SECONDS, offline=offline)
        if python is None:
            return TemplateFacts(made_with=how, why_not=WITHOUT_LIBRARIES)
        left = until - time.monotonic()
        is_new = time.monotonic() > _given_up.get(key, 0.0)
        answer = attempt(lambda: _warm.ask(question, max(0.0, left), python)) if is_new else None
        if answer is None:
            if is_new:
                _given_up[key] = time.monotonic() + KEPT_SECONDS
            return TemplateFacts(made_with=how, why_not=f"rows rendered within {SECONDS:.0f} seconds")
        if "missing" not in answer:
            attempt(lambda: _keep(key, answer))
    return attempt(lambda: _facts(answer, how, len(chosen), cloned=source.cloned is not None)) or TemplateFacts(
        made_with=how, why_not="an answer of the process that renders rows"
    )


def _question(
    spec: TrainSpec, how: RenderedWith, rows: Sequence[tuple[int, Json]], source: Source, *, vision: bool
) -> str | None:
    text_field = str(field_of(spec, "dataset_text_field") or "text")
    wanted = {*_COLUMNS, text_field, "image", "images", "chat_template_kwargs"}
    few = [[index, {name: row[name] for name in row.keys() & wanted}] for index, row in rows]
    given = {
        "tokenizer": source.model.asked(),
        "source": source.cloned.asked() if source.cloned else None,
        "template": source.template,
        "rows": few,
        "renders": how.renders,
        "assistant_only": how.assistant_only_loss,
        "completion_only": how.completion_only_loss,
        "text_field": text_field,
        "kwargs": chat_template_kwargs(spec),
        "eos_token": field_of(spec, "eos_token"),
        "pad_token": field_of(spec, "pad_token"),
        "vision": vision,
        "markers": MARKERS,
    }
    text = attempt(lambda: json.dumps(given, sort_keys=True, default=lambda value: f"<{type(value).__name__}>"))
    return text if text is not None and len(text) <= _MAX_QUESTION else None


def _facts(answer: Json, how: RenderedWith, rows: int, *, cloned: bool) -> TemplateFacts:
    if missing := answer.get("missing"):
        return TemplateFacts(made_with=how, why_not=f"{missing}, which rendering rows takes: {_INSTALL}")
    if reason := answer.get("unsupported"):
        return TemplateFacts(made_with=how, why_not=f"rows as tokens: {reason}")
    given: Mapping[str, Any] = answer
    return TemplateFacts(
        rendered=rows,
        made_with=how,
        talks=given["talks"],
        skipped=given["skipped"],
        has_template=given["has_template"],
        can_mask=given["can_mask"],
        cloned=cloned,
        eos_token=given["eos_token"],
        pad_token=given["pad_token"],
        not_in_vocabulary=tuple(given["not_in_vocabulary"]),
        stops=tuple(given["stops"]),
        specials=tuple(given["specials"]),
        turn_end=given["turn_end"],
        markers=tuple(given["markers"]),
        size=given["size"],
        largest=given["largest"],
        sequences=tuple(
            SequenceTokens(row, tokens, tuple((first, last) for first, last in spans))
            for row, tokens, spans in given["sequences"]
        ),
        findings=tuple(RowFinding(*found) for found in given["findings"]),
    )


# -- what is kept on disk


def _key(question: str) -> str:
    # where the files are does not matter: their digests are part of the question
    given = json.loads(question)
    for name in ("tokenizer", "source"):
        if given[name]:
            del given[name]["paths"]
    names = ("transformers", "trl", "tokenizers", "jinja2")
    versions = [importlib.metadata.version(name) for name in names] if is_here() else [label()]
    code = [_code_digest(), versions]
    return hashlib.sha256(json.dumps([given, code], sort_keys=True).encode()).hexdigest()


def _code_digest() -> str:
    folder = Path(__file__).parents[1] / "tokenizing"
    texts = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _kept(key: str) -> Json | None:
    path = cache_home() / "rendered" / f"{key}.json"
    if not path.is_file():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return as_json(json.loads(path.read_text(encoding="utf-8"))) or None


def _keep(key: str, answer: Mapping[str, Any]) -> None:
    folder = cache_home() / "rendered"
    folder.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(answer, stream)
        Path(name).replace(folder / f"{key}.json")
    finally:  # a full disk leaves no part of it
        Path(name).unlink(missing_ok=True)
    kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-_KEPT]:
        path.unlink(missing_ok=True)
