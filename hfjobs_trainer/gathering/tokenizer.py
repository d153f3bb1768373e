"""The tokenizer of a model, to count tokens with: from its folder, or from the Hub through the client's cache."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hfjobs_trainer.gathering.local_files import locate, model_files

FILE = "tokenizer.json"
MAX_BYTES = 20_000_000
"""Bytes of the largest tokenizer that is downloaded and read."""

# Of one text, so many characters are tokenized, and the rest counts as the like.
_MAX_TEXT = 100_000


def can_count() -> bool:
    """Whether the package ``tokenizers`` is installed, which submitting does not need."""
    return importlib.util.find_spec("tokenizers") is not None


def find_tokenizer(folder: str) -> Path | None:
    """The tokenizer in the model folder ``folder``; ``None`` if there is none or it is too large."""
    return _if_small(locate(folder, model_files)[0] / FILE)


def find_cached(repo_id: str, revision: str | None) -> Path | None:
    """The tokenizer of a model on the Hub that an earlier download left on this machine."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo_id, FILE, revision=revision)
    return _if_small(Path(path)) if isinstance(path, str) else None


def download(
    repo_id: str, revision: str | None, token: str | bool, endpoint: str | None, timeout: float
) -> Path | None:
    """The tokenizer of a model on the Hub, in the client's cache; ``None`` if it is too large to be downloaded.

    Args:
        repo_id: The model.
        revision: Branch, tag or commit; ``None`` for the main branch.
        token: Access token; ``False`` for none.
        endpoint: Address of the Hub; ``None`` for the client's default.
        timeout: Longest wait for an answer about the file, seconds.

    Raises:
        HfHubHTTPError, OSError: The Hub refuses it, or the cache cannot be written.
    """
    client: Any = importlib.import_module("huggingface_hub")  # in part without types
    # not an attribute of the client until something has imported it
    bar: Any = importlib.import_module("huggingface_hub.utils").tqdm

    def stay_silent(self: object, *arguments: Any, **options: Any) -> None:
        bar.__init__(self, *arguments, **(options | {"disable": True}))

    where = {"revision": revision, "endpoint": endpoint}
    url = client.hf_hub_url(repo_id, FILE, **where)
    size = client.get_hf_file_metadata(url, token=token, timeout=timeout, endpoint=endpoint).size
    if size is None or size > MAX_BYTES:
        return None
    silent = type("SilentBar", (bar,), {"__init__": stay_silent})
    return Path(client.hf_hub_download(repo_id, FILE, etag_timeout=timeout, token=token, tqdm_class=silent, **where))


class Tokenizer:
    """Counts tokens as the model will see them, special ones not added."""

    def __init__(self, path: Path) -> None:
        """Read ``path``; raises whatever a broken file makes ``tokenizers`` raise."""
        tokenizers: Any = importlib.import_module("tokenizers")
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        # its file may ask for both
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """Number of tokens of each text."""
        encoded = self._tokenizer.encode_batch([text[:_MAX_TEXT] for text in texts], add_special_tokens=False)
        return [len(one) * max(1.0, len(text) / _MAX_TEXT) for one, text in zip(encoded, texts, strict=True)]


def _if_small(path: Path) -> Path | None:
    return path if path.is_file() and path.stat().st_size <= MAX_BYTES else None
