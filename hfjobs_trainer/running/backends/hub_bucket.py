"""Files in the private bucket of an account's jobs, each under the digest of its content: uploaded once and kept."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.contents import identify, is_settled
from hfjobs_trainer.errors import BackendError, HubUnavailable
from hfjobs_trainer.planning.shipping import BUCKET
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked, Failure

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SLOWEST = 250_000
"""An upload that is slower than this counts as stuck, bytes per second."""
USUAL = 1_000_000
"""An upload of less than this is a matter of seconds, bytes."""
_SEEN = Answers()
"""Private buckets that were there some minutes ago, and texts that were uploaded then; by endpoint and token."""


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

    A text that this process has not uploaded lately is sent without looking for it, if the bucket is known: in a loop
    of runs each is a new one, and to send one again changes nothing. Files of this machine are always looked for.

    Args:
        connection: The Hub.
        namespace: User or organization whose bucket it is; it is created, private, where there is none.
        files: What is to be in the bucket, by path in it: a text of our own, or a file of this machine.
        what: What to call it in a message.
        refuses_public: Whether a public bucket is refused, rather than only told of before something is uploaded; it is
            then asked each time.

    Raises:
        BackendError: The Hub refuses it or does not answer, the bucket is public, or a file changed meanwhile. No job
            exists then.
    """
    bucket = _Bucket(connection, namespace, what, refuses_public)
    try:
        is_new = bucket.is_known and not any(
            isinstance(source, Path) or bucket.has_seen(path) for path, source in files.items()
        )
        missing = files if is_new else bucket.find_missing(files)
        failure = bucket.upload(missing)
        if failure is not None and is_new and not failure.is_one_too_many:
            # what was known of the bucket may hold no longer
            _SEEN.clear()
            failure = bucket.upload(bucket.find_missing(files))
        if failure is not None:
            raise failure.explain(bucket.asked)
    except HubUnavailable as error:
        raise HubUnavailable(f"{error} No job was created.", error.cause) from error.__cause__
    bucket.remember(files)


class _Bucket:
    """The bucket of a namespace, for what is to be stored in it; the arguments are those of ``store``."""

    def __init__(self, connection: Connection, namespace: str, what: str, refuses_public: bool) -> None:
        self._connection = connection
        self._id = bucket_of(namespace)
        self._what = what
        self._refuses_public = refuses_public
        self._key = (connection.endpoint, fingerprint(connection.read_token()), self._id)
        self.asked = Asked(f"upload {what}", "repo.write", namespace)

    @property
    def is_known(self) -> bool:
        """Whether it was there lately, and private."""
        return bool(_SEEN.find(self._key))

    def has_seen(self, path: str) -> bool:
        """Whether the text at ``path`` was there lately."""
        return bool(_SEEN.find((*self._key, path)))

    def remember(self, files: Mapping[str, bytes | Path]) -> None:
        """Keep in mind that these texts are there."""
        for path, source in files.items():
            if isinstance(source, bytes):
                _SEEN.keep((*self._key, path), True)

    def find_missing(self, files: Mapping[str, bytes | Path]) -> Mapping[str, bytes | Path]:
        """Those of the files that are not there as they should be; the bucket is created where there is none."""
        stored = self._connection.get(self.asked, lambda api: _list_files(api, self._id, files))
        if stored is not None and self._refuses_public:
            self._refuse_public()
        wanted = _hash({path: files[path] for path in stored or {}})
        kept = {path for path, found in (stored or {}).items() if wanted.get(path) == found}
        missing = {path: source for path, source in files.items() if path not in kept}
        if not missing:
            return missing
        if stored is None:
            self._connection.get(self.asked, lambda api: api.create_bucket(self._id, private=True, exist_ok=True))
            if self._refuses_public:
                self._refuse_public()
        elif not (self._refuses_public or self.is_known or self._is_private()):
            told = f"everyone can read {self._what}: the bucket {self._id} is public. Make it private in its settings"
            warnings.warn(told, RuntimeWarning, stacklevel=4)
            return missing
        _SEEN.keep(self._key, True)
        return missing

    def upload(self, files: Mapping[str, bytes | Path]) -> Failure | None:
        """Upload these, and return why that failed, if it did.

        Raises:
            BackendError: A file changed meanwhile.
        """
        if not files:
            return None
        sources = {path: source for path, source in files.items() if isinstance(source, Path)}
        before = {path: identify(source) for path, source in sources.items()}
        size = sum(source.stat().st_size for source in sources.values())
        upload = self._connection.ask(
            lambda api: api.batch_bucket_files(self._id, add=[(source, path) for path, source in files.items()]),
            self._connection.patience.submission + size / SLOWEST,
            repeat_late=False,
            told=f"the upload of {self._what} takes longer than usual" if size < USUAL else f"uploading {self._what}",
        )
        if upload.failure is not None:
            return upload.failure
        changed = [path for path, source in sources.items() if not source.exists() or identify(source) != before[path]]
        if changed:
            # under the digest of what it was there may now be something else
            self._connection.get(self.asked, lambda api: api.batch_bucket_files(self._id, delete=changed))
            raise BackendError(f"{sources[changed[0]].name} changed while it was uploaded: submit the run again")
        return None

    def _is_private(self) -> bool:
        return bool(self._connection.get(self.asked, lambda api: api.bucket_info(self._id).private))

    def _refuse_public(self) -> None:
        if not self._is_private():
            _SEEN.clear()
            told = f"nothing was submitted: everyone could read {self._what}, since the bucket {self._id} is public"
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
