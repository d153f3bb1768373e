"""Templates, compiled once and kept in ``__pycache__`` beside them, as Python keeps its own modules.

Compiling them takes longer than everything else that planning does. The settings that say whether and where Python
keeps compiled modules (``PYTHONDONTWRITEBYTECODE``, ``PYTHONPYCACHEPREFIX``) hold here as well, and where nothing can
be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from contextlib import suppress
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket


class CompiledTemplates(BytecodeCache):
    """The compiled templates of one environment.

    Args:
        environment: Source of the module that sets the environment's options, which are compiled in.
    """

    def __init__(self, environment: bytes) -> None:
        self._base = hashlib.sha256(version("jinja2").encode() + environment)

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Path of the compiled template."""
        return cache_from_source(filename or name)

    def get_source_checksum(self, source: str) -> str:
        """Digest of all that the compiled template was made from."""
        digest = self._base.copy()
        digest.update(source.encode())
        return digest.hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take the compiled template, if it was made from the same."""
        with suppress(OSError, EOFError, ValueError, TypeError):
            kept: Any = marshal.loads(Path(bucket.key).read_bytes())
            checksum, code = kept
            if checksum == bucket.checksum and isinstance(code, CodeType):
                bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the compiled template, at once or not at all."""
        if sys.dont_write_bytecode:
            return
        path = Path(bucket.key)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(marshal.dumps((bucket.checksum, bucket.code)))
            unfinished.replace(path)
