"""Files in the private bucket of an account's jobs, each under the digest of its content: uploaded once and kept."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.contents import identify, is_settled
from hfjobs_trainer.errors import BackendError, HubUnavailable
from hfjobs_trainer.planning.shipping import BUCKET
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SLOWEST = 250_000
"""An upload that is slower than this counts as stuck, bytes per second."""


def bucket_of(namespace: str) -> str:
    """The bucket of a user's or organization's jobs, which the client's ``run_uv_job`` uploads to as well."""
    return f"{namespace}/{BUCKET}"


def store(
    connection: Connection,
    namespace: str,
    files: Mapping[str, bytes | Path],
    *,
    what: str = "the script",
    refuses_public: bool = False,
) -> None:
    """Upload files to the bucket in one commit, except those that are there unchanged.

    Args:
        connection: The Hub.
        namespace: User or organization whose bucket it is; it is created, private, where there is none.
        files: What is to be in the bucket, by path in it: a text of our own, or a file of this machine.
        what: What to call it in a message.
        refuses_public: Whether a public bucket is refused, rather than only told of before something is uploaded.

    Raises:
        BackendError: The Hub refuses it or does not answer, the bucket is public, or a file changed meanwhile. No job
            exists then.
    """
    asked = Asked(f"upload {what}", "repo.write", namespace)
    bucket = bucket_of(namespace)
    try:
        stored = connection.get(asked, lambda api: _list_files(api, bucket, files))
        if refuses_public and stored is not None:
            _refuse_public(connection, asked, bucket, what)
        wanted = _hash({path: files[path] for path in stored or {}})
        kept = {path for path, found in (stored or {}).items() if wanted.get(path) == found}
        missing = {path: content for path, content in files.items() if path not in kept}
        if not missing:
            return
        if stored is None:
            connection.get(asked, lambda api: api.create_bucket(bucket, private=True, exist_ok=True))
            if refuses_public:
                _refuse_public(connection, asked, bucket, what)
        elif not refuses_public and not _is_private(connection, asked, bucket):
            told = f"everyone can read {what}: the bucket {bucket} is public. Make it private in its settings"
            warnings.warn(told, RuntimeWarning, stacklevel=2)
        _upload(connection, asked, bucket, missing)
    except HubUnavailable as error:
        raise HubUnavailable(f"{error} No job was created.", error.cause) from error.__cause__


def _upload(connection: Connection, asked: Asked, bucket: str, files: Mapping[str, bytes | Path]) -> None:
    sources = {path: source for path, source in files.items() if isinstance(source, Path)}
    before = {path: identify(source) for path, source in sources.items()}
    size = sum(source.stat().st_size for source in sources.values())
    upload = connection.ask(
        lambda api: api.batch_bucket_files(bucket, add=[(source, path) for path, source in files.items()]),
        connection.patience.submission + size / SLOWEST,
        repeat_late=False,
    )
    if upload.failure is not None:
        raise upload.failure.explain(asked)
    changed = [path for path, source in sources.items() if not source.exists() or identify(source) != before[path]]
    if changed:
        # under the digest of what it was there may now be something else
        connection.get(asked, lambda api: api.batch_bucket_files(bucket, delete=changed))
        raise BackendError(f"{sources[changed[0]].name} changed while it was uploaded: submit the run again")


def _is_private(connection: Connection, asked: Asked, bucket: str) -> bool:
    return bool(connection.get(asked, lambda api: api.bucket_info(bucket).private))


def _refuse_public(connection: Connection, asked: Asked, bucket: str, what: str) -> None:
    if not _is_private(connection, asked, bucket):
        told = f"nothing was submitted: everyone could read {what}, since the bucket {bucket} is public"
        raise BackendError(f"{told}. Make it private in its settings, then submit again")


def _list_files(api: HfApi, bucket: str, paths: Mapping[str, bytes | Path]) -> dict[str, str] | None:
    """Hashes of the files that are in the bucket; ``None`` if there is no bucket."""
    from huggingface_hub.errors import BucketNotFoundError

    try:
        return {file.path: file.xet_hash for file in api.get_bucket_paths_info(bucket, [*paths])}
    except BucketNotFoundError:
        return None


def _hash(files: Mapping[str, bytes | Path]) -> dict[str, str]:
    """Hashes of the files as the bucket states them; empty if they cannot be computed, so that all are uploaded."""
    try:
        hf_xet: Any = importlib.import_module("hf_xet")  # without types
        hash_files: Any = hf_xet.hash_files  # for files on disk only
    except (ImportError, AttributeError):
        return {}
    hashed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hfjobs-trainer-") as folder:
        places: dict[str, Path] = {}
        for index, (path, source) in enumerate(files.items()):
            if isinstance(source, bytes):
                places[path] = Path(folder, str(index))
                places[path].write_bytes(source)
            elif (known := _known().get(identify(source))) is not None:
                hashed[path] = known
            else:
                places[path] = source
        before = {path: identify(place) for path, place in places.items()}
        computed: list[Any] = hash_files([str(place) for place in places.values()]) if places else []
        for (path, place), item in zip(places.items(), computed, strict=True):
            hashed[path] = item.hash
            if place == files[path] and is_settled(place) and identify(place) == before[path]:
                _known()[before[path]] = item.hash
    return hashed


@cache
def _known() -> dict[object, str]:
    """Hashes of files of this machine, by what changes when anything is done to one."""
    return {}
