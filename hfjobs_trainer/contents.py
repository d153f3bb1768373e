"""Local files by their content: the digest that names it, how a spec writes it, and where this machine keeps it.

A spec names content as ``name@sha256:digest``. The digest of a file is the SHA-256 of its bytes; that of a folder is
the SHA-256 of what ``sha256sum`` prints of its files in the order of their names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

PIN = "@sha256:"
_PINNED = re.compile(rf"(?s)(.+){PIN}([0-9a-f]{{64}})")

# A file that changed less than this before it was read may change again within one tick of the clock, seconds.
_SETTLED = 2.0
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A file of some content.

    Attributes:
        name: Its path within the folder, with ``/``; for a file alone its name.
        size: Bytes.
        sha256: SHA-256 of its bytes, hexadecimal.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Content:
    """A local file or folder as it was read: all that a run needs of it.

    Attributes:
        name: Name of the file or folder.
        digest: SHA-256 that stands for all of it, hexadecimal.
        parts: Its files, by name.
        is_folder: Whether it is a folder.
        left_out: Names of files that are not part of it because they are links to a place outside the folder.
    """

    name: str
    digest: str
    parts: tuple[Part, ...] = field(repr=False)
    is_folder: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for part in self.parts)


def split_pin(text: str) -> tuple[str, str | None]:
    """Path and digest of ``path@sha256:digest``; of any other text the text and ``None``."""
    found = _PINNED.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)


def pinned(text: str, digest: str) -> str:
    """``text``, a path, with the digest of what is there.

    Of an absolute path, or one in the home folder, the name alone remains: the rest means nothing on another machine.
    """
    path, known = split_pin(text)
    if known is not None:
        return text
    return relative(path) + PIN + digest


def relative(path: str) -> str:
    """What of a path means something on another machine: the name alone of one that is absolute, or in the home."""
    is_absolute = path.startswith(("/", "~", "\\")) or PureWindowsPath(path).is_absolute()
    return base_name(path) if is_absolute else path


def base_name(path: str) -> str:
    """The last part of a path of any system; ``"data"`` if it has none."""
    name = PurePosixPath(path.replace("\\", "/")).name
    return name if name.strip(".") else "data"


def file_name(path: str) -> str:
    """The last part of a path in ``[A-Za-z0-9._-]`` alone, so that no loader takes it for a pattern."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", base_name(path))[-100:].lstrip("-.") or "data"


def read_file(path: Path) -> Content:
    """The content of a file.

    Raises:
        OSError: It cannot be read.
    """
    part = Part(path.name, path.stat().st_size, hash_file(path))
    return Content(path.name, part.sha256, (part,))


def read_folder(path: Path, files: Mapping[str, Path], left_out: tuple[str, ...] = ()) -> Content:
    """The content of a folder.

    Args:
        path: The folder.
        files: Those of its files that count, by their names in it.
        left_out: Names of files that are links to a place outside.

    Raises:
        OSError: A file cannot be read.
        ValueError: There is no file.
    """
    from concurrent.futures import ThreadPoolExecutor

    if not files:
        raise ValueError(f"{path.name} holds no file that would be read")
    names = sorted(files)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        hashes = [*pool.map(hash_file, [files[name] for name in names])]
    parts = [Part(name, files[name].stat().st_size, found) for name, found in zip(names, hashes, strict=True)]
    listed = "".join(f"{part.sha256}  {part.name}\n" for part in parts)
    return Content(path.name, hashlib.sha256(listed.encode()).hexdigest(), tuple(parts), True, left_out)


_BLOCK = 1 << 20
_Identity = tuple[str, int, int, int, int, int]
_hashed: dict[_Identity, str] = {}


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; read once while nothing is done to it.

    Raises:
        OSError: It cannot be read.
    """
    before = identify(path)
    if before in _hashed:
        return _hashed[before]
    hashed, left = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as stream:
        # no more than it has: what the system makes up as it is read may have no end
        while left > 0 and (block := stream.read(min(left, _BLOCK))):
            hashed.update(block)
            left -= len(block)
    digest = hashed.hexdigest()
    if before == identify(path) and is_settled(path):
        _hashed[before] = digest
    return digest


def identify(path: Path) -> _Identity:
    """What changes when anything is done to a file. No program can set the time of its last change (ctime) back."""
    found = path.stat()
    return str(path.absolute()), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_settled(path: Path) -> bool:
    """Whether a change of the file from now on would show in ``identify``."""
    return time.time() - path.stat().st_ctime > _SETTLED


# -- what is kept on this machine


def cache_home() -> Path:
    """Where this package keeps files: ``$HFT_HOME``, else ``hfjobs_trainer`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if home := os.environ.get("HFT_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hfjobs_trainer"


def find_kept(digest: str) -> Path | None:
    """What is kept under a digest: a file or folder, or a link to where it was; ``None`` if there is nothing."""
    folder = cache_home() / "data" / digest
    with contextlib.suppress(OSError):
        return next((path for path in sorted(folder.glob("[!.]*")) if path.exists()), None)
    return None


def keep_link(path: Path, digest: str) -> None:
    """Remember where the content of this digest is, so that the digest alone finds it again; quiet if it cannot."""
    folder, kept = cache_home() / "data" / digest, find_kept(digest)
    if kept is not None and (not kept.is_symlink() or kept.resolve() == path.resolve()):
        return
    with contextlib.suppress(OSError, NotImplementedError):  # the latter where the system has no links
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.iterdir():
            if earlier.is_symlink():
                earlier.unlink(missing_ok=True)
        link = folder / f".{os.getpid()}-{time.monotonic_ns()}"
        link.symlink_to(path.absolute())
        link.replace(folder / file_name(path.name))


def keep_file(name: str, write: Callable[[BinaryIO], None]) -> str:
    """Write a file into the cache, all of it or nothing, and return its digest.

    Args:
        name: Its name.
        write: Writes the content to a stream.

    Raises:
        OSError: The cache cannot be written.
    """
    data = cache_home() / "data"
    data.mkdir(parents=True, exist_ok=True)
    number, temporary = tempfile.mkstemp(dir=data, prefix=".new-")
    path = Path(temporary)
    try:
        with os.fdopen(number, "wb") as stream:
            write(stream)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        folder = data / digest
        folder.mkdir(exist_ok=True)
        path.replace(folder / name)
    finally:
        path.unlink(missing_ok=True)
    return digest
