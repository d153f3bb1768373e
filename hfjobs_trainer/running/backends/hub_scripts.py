"""Scripts in the private bucket of an account's jobs, each under its digest: uploaded once and kept.

A run that is resumed or diagnosed later finds the script that it ran, and equal scripts are one file.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.errors import HubUnavailable
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FOLDER = "hfjobs-trainer"
"""Where scripts are in the bucket, which other tools use as well."""
MOUNT, FILE = "/data", "script.py"
"""Where a job sees the folder of its script, as the client's ``run_uv_job`` has it, and the script's name there."""


def folder_of(script: str) -> str:
    """The folder of a script in the bucket, by the digest of its text."""
    return f"{FOLDER}/{hashlib.sha256(script.encode()).hexdigest()}"


def bucket_of(namespace: str) -> str:
    """The bucket of a user's or organization's jobs, which the client's ``run_uv_job`` uploads to as well."""
    return f"{namespace}/jobs-artifacts"


def store(connection: Connection, namespace: str, scripts: Sequence[str]) -> None:
    """Upload scripts to the bucket in one commit, except those that are there unchanged.

    Args:
        connection: The Hub.
        namespace: User or organization whose bucket it is; it is created, private, where there is none.
        scripts: Their texts.

    Raises:
        BackendError: The Hub refuses it or does not answer. No job exists then.
    """
    asked = Asked("upload the script", "repo.write", namespace)
    bucket = bucket_of(namespace)
    files = {f"{folder_of(script)}/{FILE}": script.encode() for script in scripts}
    try:
        stored = connection.get(asked, lambda api: _list_files(api, bucket, files))
        wanted = _hash({path: files[path] for path in stored or {}})
        kept = {path for path, found in (stored or {}).items() if wanted.get(path) == found}
        missing = [(content, path) for path, content in files.items() if path not in kept]
        if not missing:
            return
        if stored is None:
            connection.get(asked, lambda api: api.create_bucket(bucket, private=True, exist_ok=True))
        elif not connection.get(asked, lambda api: api.bucket_info(bucket).private):
            told = f"everyone can read the script: the bucket {bucket} is public. Make it private in its settings"
            warnings.warn(told, RuntimeWarning, stacklevel=2)
        upload = connection.ask(
            lambda api: api.batch_bucket_files(bucket, add=[*missing]),
            connection.patience.submission,
            repeat_late=False,
        )
        if upload.failure is not None:
            raise upload.failure.explain(asked)
    except HubUnavailable as error:
        raise HubUnavailable(f"{error} No job was created.", error.cause) from error.__cause__


def _list_files(api: HfApi, bucket: str, paths: Mapping[str, bytes]) -> dict[str, str] | None:
    """Hashes of the files that are in the bucket; ``None`` if there is no bucket."""
    from huggingface_hub.errors import BucketNotFoundError

    try:
        return {file.path: file.xet_hash for file in api.get_bucket_paths_info(bucket, [*paths])}
    except BucketNotFoundError:
        return None


def _hash(files: Mapping[str, bytes]) -> dict[str, str]:
    """Hashes of the files as the bucket states them; empty if they cannot be computed, so that all are uploaded."""
    try:
        hf_xet: Any = importlib.import_module("hf_xet")  # without types
        hash_files: Any = hf_xet.hash_files  # for files on disk only
    except (ImportError, AttributeError):
        return {}
    with tempfile.TemporaryDirectory(prefix="hfjobs-trainer-") as folder:
        places = [Path(folder, str(index)) for index in range(len(files))]
        for place, content in zip(places, files.values(), strict=True):
            place.write_bytes(content)
        hashed = hash_files([str(place) for place in places])
    return dict(zip(files, (item.hash for item in hashed), strict=True))
