"""A client and its backend: one account, one place, whichever way a run is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest

import hfjobs_trainer as hft

# What is handed to ``submit``, and by which client.
WAYS: dict[str, Callable[[hft.HubBackend, Any], Any]] = {
    "a plan": lambda backend, spec: (client := hft.Client(backend=backend)).submit(client.plan(spec)),
    "a spec": lambda backend, spec: hft.Client(backend=backend).submit(spec),
    "a plan of another's place": lambda backend, spec: hft.submit(
        hft.plan(spec, backend="local", offline=True), backend=backend
    ),
    "a spec, and a backend for it": lambda backend, spec: hft.submit(spec, backend=backend),
    "a spec, and a backend other than the client's": lambda backend, spec: hft.Client(token="hf_alice_write").submit(
        spec, backend=backend
    ),
}


@pytest.fixture
def spec(tmp_path: Path) -> hft.Script:
    file = tmp_path / "hello.py"
    file.write_text("# /// script\n# dependencies = []\n# ///\nprint('hello')\n")
    return hft.Script(str(file), hardware="cpu-basic", timeout="10m")


@pytest.mark.usefixtures("hub_env")
@pytest.mark.parametrize("submit", WAYS.values(), ids=WAYS)
def test_who_plans_is_who_submits(
    hub: hubsim.Hub, spec: hft.Script, submit: Callable[[hft.HubBackend, Any], hft.Job]
) -> None:
    backend = hft.HubBackend(token="hf_bob_write", endpoint=hub.endpoint)  # the environment's is alice's
    job = submit(backend, spec)
    assert job.backend is backend
    assert [one.namespace for one in hub.jobs.values()] == ["bob"]
    senders = {
        {name.lower(): value for name, value in entry["headers"].items()}.get("authorization")
        for entry in hub.requests("^/api/")
    }
    assert senders - {None} == {"Bearer hf_bob_write"}  # what is public is asked by nobody


def test_the_namespace_of_a_backend_is_that_of_its_plans(hub: hubsim.Hub, spec: hft.Script) -> None:
    backend = hft.HubBackend(token="hf_alice_write", namespace="acme", endpoint=hub.endpoint)
    assert hft.Client(backend=backend).plan(spec).request.namespace == "acme"
    assert hft.Client(backend=backend, namespace="alice").plan(spec).request.namespace == "alice"


def test_a_plan_is_submitted_by_the_backend_it_was_made_for(tmp_path: Path, spec: hft.Script) -> None:
    nowhere = hft.InProcessBackend()
    client = hft.Client(backend=nowhere)
    job = client.submit(client.plan(spec, offline=True))
    assert job.backend is nowhere
    here = hft.LocalBackend(root=tmp_path / "runs", python="current")
    client = hft.Client(backend=here)
    job = client.submit(client.plan(spec, offline=True))
    job.cancel()
    assert job.backend is here
    assert job.record.folder is not None
    assert Path(job.record.folder).parent == tmp_path / "runs"
