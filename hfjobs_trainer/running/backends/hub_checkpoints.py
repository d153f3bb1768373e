"""The bucket in which the checkpoints of an account's jobs outlive their machines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.bucket import BUCKET, MOUNT
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_failures import Asked

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import JobRequest

EXISTS = (401, 403, 409)
"""What the Hub may answer to its creation although it is there: a token may use a bucket that it may not create."""
_PRIVATE = Answers()
"""Buckets that were there some minutes ago, and private; by endpoint and token."""


def with_bucket(connection: Connection, request: JobRequest, namespace: str) -> JobRequest:
    """The request, its script told of the bucket of its checkpoints; unchanged if they do not go to one.

    The bucket is created, private, where there is none.

    Raises:
        BackendError: The Hub refuses it or does not answer, or the bucket is public. No job exists then.
    """
    sources = [volume.source for volume in request.volumes if volume.type == "bucket"]
    source = next((source for source in sources if source.split("/")[-1] == BUCKET), None)
    if source is None:
        return request
    bucket = source if "/" in source else f"{namespace}/{source}"
    key = (connection.endpoint, fingerprint(connection.read_token()), bucket)
    if not _PRIVATE.find(key):
        _provide(connection, bucket)
        _PRIVATE.keep(key, True)
    return replace(request, env={**request.env, "HFT_BUCKET": bucket})


def _provide(connection: Connection, bucket: str) -> None:
    asked = Asked("create the bucket for checkpoints", "repo.write", bucket.split("/")[0])
    made = connection.ask(lambda api: api.create_bucket(bucket, private=True))
    if made.failure is None:
        return
    if made.failure.status not in EXISTS:
        raise made.failure.explain(asked)
    found = connection.ask(lambda api: api.bucket_info(bucket).private)
    if found.failure is not None:
        raise made.failure.explain(asked)
    if not found.get():
        told = f"nothing was submitted: everyone could read the checkpoints, since the bucket {bucket} is public"
        raise BackendError(f"{told}. Make it private in its settings, then submit again")


def address_of(place: str, job_id: str) -> str:
    """The address of a folder that a job sees in the bucket; any other place unchanged."""
    namespace, _, _ = job_id.rpartition("/")
    within = place.removeprefix(f"{MOUNT}/")
    return place if within == place else f"hf://buckets/{namespace}/{BUCKET}/{within}"
