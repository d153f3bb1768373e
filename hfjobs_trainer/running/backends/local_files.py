"""Files of a run on this machine: written for this user alone, and read whatever lies in their place."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, cast

# A larger record is none of ours, bytes.
LARGEST_RECORD = 16 << 20
# Bytes that are kept free for the last status of a run.
RESERVED = 4096
# A message that is longer is cut, so that a status fits into what is reserved: characters, of up to 12 bytes in JSON.
LONGEST_MESSAGE = 300


def open_file(path: Path) -> int:
    """Open a file for reading, and return its descriptor; never wait for a writer.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    # Looked at first: to open a device may be to use it.
    _require_file(path.stat())
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _require_file(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError("is no regular file")


def read_file(path: Path, most: int) -> bytes:
    """What a file holds.

    Raises:
        OSError: As for ``open_file``.
        ValueError: It holds more than ``most`` bytes.
    """
    with os.fdopen(open_file(path), "rb") as file:
        # It may grow between the two looks.
        is_longer = os.fstat(file.fileno()).st_size > most
        content = b"" if is_longer else file.read(most + 1)
    if is_longer or len(content) > most:
        raise ValueError(f"holds more than {most >> 10:,} KiB")
    return content


def read_json(path: Path, most: int) -> dict[str, Any]:
    """The fields of a JSON file.

    Raises:
        OSError: As for ``open_file``.
        ValueError: It holds more than ``most`` bytes, or no JSON object.
    """
    text = read_file(path, most)
    try:
        fields: Any = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("holds no JSON" if text.strip() else "is empty") from error
    if not isinstance(fields, dict):
        raise ValueError("holds no JSON object")
    return cast("dict[str, Any]", fields)


def make_folder(path: Path) -> None:
    """Make a folder that this user alone may enter, whatever the umask."""
    path.mkdir(mode=0o700)
    path.chmod(0o700)


def open_private(path: Path, flags: int) -> int:
    """Open a file for writing, and return its descriptor; made anew, it is this user's alone, whatever the umask.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
    except FileExistsError:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _require_file(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def write_file(path: Path, content: bytes) -> None:
    """Write a file that this user alone may read."""
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file such that a reader sees the old or the new one, never half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write_file(partial, json.dumps(value, indent=1).encode())
    partial.replace(path)


class Reserve:
    """Room on the disk for the last version of a small JSON file, taken while there is some.

    Args:
        path: The file.

    Raises:
        OSError: There is no room.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.room = path.with_name(f".{path.name}.reserve")
        with os.fdopen(open_private(self.room, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            file.write(b" " * RESERVED)
            file.flush()
            os.fsync(file.fileno())  # some file systems give room only to what is written out

    @property
    def is_kept(self) -> bool:
        """Whether the last version is still to be written."""
        return self.room.exists()

    def write(self, value: Any) -> None:
        """Write the last version: over what is reserved, which then takes the place of the file."""
        content = json.dumps(value, indent=1).encode()
        try:
            with os.fdopen(os.open(self.room, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "wb") as file:
                file.write(content.ljust(RESERVED))
            self.room.replace(self.path)
        except OSError:  # somebody has taken it away
            write_json(self.path, value)


def remove_quietly(path: Path) -> None:
    """Remove a file, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        path.unlink()
