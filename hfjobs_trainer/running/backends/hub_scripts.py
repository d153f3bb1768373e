"""What a job reads from the bucket of its account: its script, and the local models and datasets that travel with it.

A run that is resumed or diagnosed later finds the script that it ran, and equal scripts are one file; so are equal
data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from hfjobs_trainer.contents import file_name, hash_file
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.shipping import FOLDER
from hfjobs_trainer.planning.shipping import folder_of as data_folder
from hfjobs_trainer.running.backends import hub_bucket
from hfjobs_trainer.running.backends.hub_bucket import bucket_of
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.time_limit import within

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import LocalData

__all__ = ["FILE", "MOUNT", "bucket_of", "folder_of", "store", "time_for"]

MOUNT, FILE = "/data", "script.py"
"""Where a job sees the folder of its script, as the client's ``run_uv_job`` has it, and the script's name there."""


def folder_of(script: str, files: Mapping[str, str] | None = None) -> str:
    """The folder of a script in the bucket, by the digest of its text, and of the files beside it if there are any."""
    digest = hashlib.sha256(script.encode())
    for name, text in sorted((files or {}).items()):
        digest.update(f"\0{name}\0{text}".encode())
    return f"{FOLDER}/{digest.hexdigest()}"


def time_for(connection: Connection, data: Sequence[LocalData] = ()) -> AbstractContextManager[None]:
    """The time for all requests of a submission: ``Patience.total``, and that of an upload of the data."""
    size = sum(item.content.size for item in data)
    return within(connection.patience.total + size / hub_bucket.SLOWEST)


def store(
    connection: Connection,
    namespace: str,
    scripts: Sequence[str],
    data: Sequence[LocalData] = (),
    beside: Mapping[str, str] | None = None,
) -> None:
    """Upload scripts and data to the bucket in one commit, except what is there unchanged.

    Args:
        connection: The Hub.
        namespace: User or organization whose bucket it is; it is created, private, where there is none.
        scripts: Texts of the scripts.
        data: Local models and datasets. A public bucket is refused for them.
        beside: Texts of files that lie beside each script, by name.

    Raises:
        BackendError: The Hub refuses it or does not answer, the bucket is public, or the data are no longer what was
            planned. No job exists then.
    """
    files: dict[str, bytes | Path] = {}
    for script in scripts:
        texts = {FILE: script, **(beside or {})}
        files |= {f"{folder_of(script, beside)}/{name}": text.encode() for name, text in texts.items()}
    for item in data:
        files |= _files_of(item)
    what = ", ".join(["the script", *(item.content.name for item in data)])
    hub_bucket.store(connection, namespace, files, what=what, refuses_public=bool(data))


def _files_of(item: LocalData) -> dict[str, Path]:
    """The files of some data, by their paths in the bucket.

    Raises:
        BackendError: They are no longer what was planned.
    """
    content, place = item.content, Path(item.place)
    name = file_name(content.name)
    root = f"{data_folder(content.digest)}/{name}"
    files = {f"{root}/{part.name}" if content.is_folder else root: part for part in content.parts}
    found: dict[str, Path] = {}
    for path, part in files.items():
        found[path] = place / part.name if content.is_folder else place
        try:
            has_changed = hash_file(found[path]) != part.sha256
        except OSError:
            has_changed = True
        if has_changed:
            which = f"{content.name}/{part.name}" if content.is_folder else content.name
            told = f"nothing was submitted: {which} has changed since the run was planned"
            raise BackendError(f"{told} (its SHA-256 was {part.sha256}). Plan it again")
    return found
