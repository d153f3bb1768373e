"""The job that a backend is asked to run, and its table in the header of the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfjobs_trainer.facts import Flavor
from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.arguments.trackers import tracking_secrets
from hfjobs_trainer.planning.names import slug
from hfjobs_trainer.planning.plan import JobRequest, Volume
from hfjobs_trainer.specs.base import JobSpec

LABEL_DIGITS = 12
"""Hexadecimal digits of the spec's digest in a job's label."""


def job_table(request: JobRequest) -> Mapping[str, Any]:
    """The ``[tool.hf-jobs]`` table: what ``submit`` passes, for ``hf jobs uv run``."""
    table: dict[str, Any] = {
        "image": request.image,
        "flavor": request.flavor,
        "timeout": f"{request.timeout_seconds}s" if request.timeout_seconds else None,
        "name": request.name,
        "namespace": request.namespace,
        "env": dict(request.env) or None,
        "secrets": list(request.secrets) or None,
        "labels": dict(request.labels) or None,
        "volumes": [_volume_text(volume) for volume in request.volumes if "/" in volume.source] or None,
    }
    return {key: value for key, value in table.items() if value is not None}


def _volume_text(volume: Volume) -> str:
    """A volume as ``hf jobs uv run`` takes it."""
    revision, path = f"@{volume.revision}" if volume.revision else "", f"/{volume.path}" if volume.path else ""
    mode = "" if volume.read_only is None else ":ro" if volume.read_only else ":rw"
    return f"hf://{volume.type}s/{volume.source}{revision}{path}:{volume.mount_path}{mode}"


def request_of(
    spec: JobSpec,
    *,
    subject: str,
    flavor: Flavor | None,
    timeout_seconds: int | None,
    namespace: str | None,
    needs_token: bool,
    backend: BackendTraits,
    digest: str | None = None,
) -> JobRequest:
    """The job that a backend is asked to run, without its script.

    Args:
        spec: The spec.
        subject: The model or script, for the job's name.
        flavor: The chosen flavor.
        timeout_seconds: The job's timeout, seconds; ``None`` for no limit.
        namespace: User or organization that runs and pays.
        needs_token: Whether the script needs HF_TOKEN.
        backend: Where it will run.
        digest: Digest of the spec as the script carries it, if that differs from the spec's own.
    """
    secrets = [*spec.secrets, *tracking_secrets(spec.tracking.report_to, spec.env, backend)]
    if needs_token and "HF_TOKEN" not in secrets:
        secrets.append("HF_TOKEN")
    env = {"PYTHONUNBUFFERED": "1", **dict(backend.env)}
    method = type(spec).METHOD.name
    labels = {"sdk": "hfjobs-trainer", "method": method, "spec": (digest or spec.digest)[:LABEL_DIGITS]}
    if spec.tracking.group:
        labels["group"] = slug(spec.tracking.group)
    said, hardware = (spec.tracking.name or subject).lower(), spec.hardware
    return JobRequest(
        script="",
        name=slug(said if said.startswith(method) else f"{method}-{said}", 60),
        flavor=flavor.name if flavor else None,
        timeout_seconds=timeout_seconds,
        env=env | spec.env,
        secrets=tuple(dict.fromkeys(secrets)),
        labels=labels | spec.labels,
        namespace=namespace,
        image=spec.image,
        nodes=hardware.nodes,
        attempts=hardware.attempts if backend.rents else 1,
        ssh=hardware.ssh and backend.rents,
        expose=tuple(dict.fromkeys(hardware.expose)) if backend.rents else (),
        resource_group_id=hardware.resource_group_id if backend.rents else None,
    )
