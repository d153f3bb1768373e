"""In a loop of specs, this package asks the Hub no more than the bare client."""

from __future__ import annotations

import hubsim
import pytest

import hfjobs_trainer as hft
from benchmarks import requests


@pytest.mark.slow
def test_a_loop_of_specs_takes_no_more_requests_than_the_bare_client(hub: hubsim.Hub) -> None:
    requests.make_repos(hub.root)
    hub.cfg["exec"] = "off"
    specs = requests.specs(requests.JOBS)
    counts: list[list[int]] = []

    def done() -> None:
        # an upload reports about itself, when it comes to it
        counts[-1].append(len([entry for entry in hub.journal if "telemetry" not in entry["path"]]))

    counts.append([])
    requests.submit_bare(hub.endpoint, [hft.render(spec, facts=hft.Facts()) for spec in specs], done)
    hub.journal.clear()
    counts.append([])
    requests.submit_ours(hub.endpoint, specs, done)
    bare, ours = counts
    assert len(hub.jobs) == 2 * requests.JOBS
    assert ours[-1] <= bare[-1]
    assert requests.per_job(ours)[1] <= requests.per_job(bare)[1] - 2


def test_of_each_later_job_one_look_the_script_and_the_job_are_sent(hub: hubsim.Hub) -> None:
    requests.make_repos(hub.root)
    hub.cfg["exec"] = "off"
    before: list[int] = []
    requests.submit_ours(hub.endpoint, requests.specs(3), lambda: before.append(len(hub.journal)))
    sent = [(entry["method"], entry["path"]) for entry in hub.journal[before[1] :]]
    assert [(method, path) for method, path in sent if path.startswith("/api/")] == [
        ("GET", "/api/jobs/alice"),  # whether an identical one goes on
        ("GET", "/api/buckets/alice/jobs-artifacts/xet-write-token"),
        ("POST", "/api/buckets/alice/jobs-artifacts/batch"),
        ("POST", "/api/jobs/alice"),
    ]
