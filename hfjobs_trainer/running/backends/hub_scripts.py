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

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.errors import HubUnavailable
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked, Failure

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FOLDER = "hfjobs-trainer"
"""Where scripts are in the bucket, which other tools use as well."""
MOUNT, FILE = "/data", "script.py"
"""Where a job sees the folder of its script, as the client's ``run_uv_job`` has it, and the script's name there."""

_SEEN = Answers()
"""Private buckets that were there some minutes ago, and scripts that were uploaded then; by endpoint and token."""


def folder_of(script: str) -> str:
    """The folder of a script in the bucket, by the digest of its text."""
    return f"{FOLDER}/{hashlib.sha256(script.encode()).hexdigest()}"


def bucket_of(namespace: str) -> str:
    """The bucket of a user's or organization's jobs, which the client's ``run_uv_job`` uploads to as well."""
    return f"{namespace}/jobs-artifacts"


def store(connection: Connection, namespace: str, scripts: Sequence[str]) -> None:
    """Upload scripts to the bucket in one commit, except those that are there unchanged.

    A script that this process has not uploaded lately is sent without looking for it, if the bucket is known: in a loop
    of runs each is a new one, and to send one again changes nothing.

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
    who = (connection.endpoint, fingerprint(connection.read_token()), bucket)
    try:
        is_new = bool(_SEEN.find(who)) and not any(_SEEN.find((*who, path)) for path in files)
        missing = files if is_new else _find_missing(connection, asked, bucket, files)
        failure = _upload(connection, bucket, missing)
        if failure is not None and is_new:
            # what was known of the bucket may hold no longer
            _SEEN.clear()
            failure = _upload(connection, bucket, _find_missing(connection, asked, bucket, files))
        if failure is not None:
            raise failure.explain(asked)
    except HubUnavailable as error:
        raise HubUnavailable(f"{error} No job was created.", error.cause) from error.__cause__
    for path in files:
        _SEEN.keep((*who, path), True)


def _upload(connection: Connection, bucket: str, files: Mapping[str, bytes]) -> Failure | None:
    if not files:
        return None
    add = [(content, path) for path, content in files.items()]
    seconds = connection.patience.submission
    return connection.ask(lambda api: api.batch_bucket_files(bucket, add=[*add]), seconds, repeat_late=False).failure


def _find_missing(connection: Connection, asked: Asked, bucket: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of the files that are not in the bucket as they should be; the bucket is created where there is none."""
    stored = connection.get(asked, lambda api: _list_files(api, bucket, files))
    wanted = _hash({path: files[path] for path in stored or {}})
    kept = {path for path, found in (stored or {}).items() if wanted.get(path) == found}
    missing = {path: content for path, content in files.items() if path not in kept}
    who = (connection.endpoint, fingerprint(connection.read_token()), bucket)
    if not missing or (stored is not None and _SEEN.find(who)):
        return missing
    if stored is None:
        connection.get(asked, lambda api: api.create_bucket(bucket, private=True, exist_ok=True))
    elif not connection.get(asked, lambda api: api.bucket_info(bucket).private):
        told = f"everyone can read the script: the bucket {bucket} is public. Make it private in its settings"
        warnings.warn(told, RuntimeWarning, stacklevel=3)
        return missing
    _SEEN.keep(who, True)
    return missing


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
