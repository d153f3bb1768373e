"""Models whose tokenizer and chat template are those of a family, without weights, made without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "</s>"),
    *("<|start|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>"),
)


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def template_of(family: str) -> str:
    """The chat template of a family, as TRL knows it."""
    spec = find_spec("trl")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{family}.jinja").read_text(encoding="utf-8")


@cache
def _vocabulary(specials: Sequence[str]) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["system user assistant"], trainer)
    return tokenizer.to_str()


def make_model(
    folder: Path,
    template: str | None,
    *,
    eos: str | None = "<|im_end|>",
    pad: str | None = "<|endoftext|>",
    bos: str | None = "<|begin_of_text|>",
    stops: Sequence[str] = (),
    specials: Sequence[str] = SPECIALS,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write config and tokenizer of a model into ``folder``.

    Args:
        folder: Folder to write, made when missing.
        template: The chat template: its text, or the name of a family; ``None`` for none.
        eos, pad, bos: Special tokens.
        stops: Tokens at which the generation config stops.
        specials: Special tokens of the vocabulary.
        config: More of ``config.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary(tuple(specials))
    numbers = {token["content"]: token["id"] for token in json.loads(vocabulary)["added_tokens"]}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "pad_token": pad, "bos_token": bos}
    texts: dict[str, Any] = {
        "tokenizer_config.json": {name: value for name, value in settings.items() if value is not None},
        "config.json": {"model_type": "llama", "vocab_size": 300, **(config or {})},
    }
    if stops:
        texts["generation_config.json"] = {"eos_token_id": [numbers[token] for token in stops]}
    for name, content in texts.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer.json").write_text(vocabulary, encoding="utf-8")
    if template is not None:
        text = template if "{" in template else template_of(template)
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    return folder


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
