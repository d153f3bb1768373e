"""What running and gathering take from the Hub's client though it does not document it; each with what they rely on.

When the pin of the client moves, these tests say which of it is no longer so.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi
from huggingface_hub import errors as client_errors
from huggingface_hub import utils as client_utils

import hfjobs_trainer
from hfjobs_trainer.running.backends.hub_scripts import FILE, MOUNT, bucket_of
from hfjobs_trainer.running.backends.hub_submission import UV_IMAGE

PACKAGE = Path(hfjobs_trainer.__file__).parent
SCANNED = (
    *(PACKAGE / "running").rglob("*.py"),
    *(PACKAGE / "gathering").rglob("*.py"),
    *(PACKAGE / "client").rglob("*.py"),
    PACKAGE / "transient.py",
)
SCHEDULED = ("inspect", "trigger", "suspend", "resume", "delete")
CLIENT = ("huggingface_hub", "hf_xet")


def import_name(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def loggers_exist() -> None:
    """Importing it makes the loggers whose debug lines hold request bodies."""
    importlib.import_module("huggingface_hub.hf_api")
    assert "huggingface_hub.utils._http" in logging.root.manager.loggerDict


def viewer_is_apart() -> None:
    """The public Hub's dataset viewer has an address of its own."""
    address = import_name("huggingface_hub.constants", "DATASETS_SERVER_ENDPOINT")
    assert address == "https://datasets-server.huggingface.co"


def schedules_have_these() -> None:
    """What is read of a scheduled job, whose class is not among the client's public names."""
    owner = {"id": "1", "name": "me", "type": "user"}
    spec = {"flavor": "cpu-basic", "retry": 1, "expose": {"ports": [1], "portsPublic": []}, "timeout": 60, "labels": {}}
    status = {"lastJob": {"id": "2", "at": "2026-01-01T00:00:00.000Z"}, "nextJobRunAt": "2026-01-02T00:00:00.000Z"}
    made = import_name("huggingface_hub._jobs_api", "ScheduledJobInfo")(
        id="3", schedule="@daily", suspend=False, concurrency=False, jobSpec=spec, status=status, owner=owner
    )
    assert isinstance(made.job_spec, import_name("huggingface_hub._jobs_api", "JobSpec"))
    assert (made.schedule, made.suspend, made.concurrency, made.created_at) == ("@daily", False, False, None)
    assert (made.status.last_job.id, made.status.next_job_run_at.day) == ("2", 2)
    assert (made.job_spec.retry, made.job_spec.timeout, made.job_spec.labels) == (1, 60, {})
    assert (made.job_spec.flavor, made.job_spec.expose, made.job_spec.expose_public) == ("cpu-basic", [1], [])


PRIVATE: dict[str, Callable[..., None]] = {
    "huggingface_hub._jobs_api.JobSpec": schedules_have_these,
    "huggingface_hub._jobs_api.ScheduledJobInfo": schedules_have_these,
    "huggingface_hub.constants": viewer_is_apart,
    "huggingface_hub.constants.DATASETS_SERVER_ENDPOINT": viewer_is_apart,
    "huggingface_hub.hf_api": loggers_exist,
}
"""By name, what is relied on."""
PUBLIC = {"huggingface_hub", "huggingface_hub.utils", "huggingface_hub.errors", "hf_xet", "hf_xet.hash_files"}
"""What is public though no list says so; ``test_hub_scripts`` holds that a bucket has the hashes of the last one."""


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_what_it_was(name: str) -> None:
    PRIVATE[name]()


def test_what_is_written_down_here_is_the_clients() -> None:
    assert import_name("huggingface_hub.constants", "HF_JOBS_ARTIFACTS_MOUNT_PATH") == MOUNT
    assert bucket_of("me") == f"me/{import_name('huggingface_hub.constants', 'HF_JOBS_ARTIFACTS_BUCKET_NAME')}"
    assert import_name("huggingface_hub.hf_api", "DEFAULT_UV_IMAGE") == UV_IMAGE
    assert FILE == "script.py"


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (
            "run_job",
            "image command env secrets flavor timeout attempts name labels volumes expose ssh network_group"
            " network_aliases resource_group_id namespace",
        ),
        (
            "create_scheduled_job",
            "image command env secrets flavor timeout attempts name labels volumes expose resource_group_id namespace"
            " schedule concurrency",
        ),
        ("list_scheduled_jobs", "labels namespace"),
        *((f"{verb}_scheduled_job", "scheduled_job_id namespace") for verb in SCHEDULED),
        ("create_bucket", "bucket_id private exist_ok"),
        ("bucket_info", "bucket_id"),
        ("get_bucket_paths_info", "bucket_id paths"),
        ("batch_bucket_files", "bucket_id add"),
        ("list_jobs", "labels namespace"),
        ("cancel_job", "job_id namespace"),
        ("inspect_job", "job_id namespace"),
        ("fetch_job_logs", "job_id namespace follow"),
        ("list_jobs_hardware", ""),
        ("whoami", ""),
    ],
)
def test_a_public_call_takes_what_it_is_given(call: str, arguments: str) -> None:
    assert set(arguments.split()) <= set(inspect.signature(getattr(HfApi, call)).parameters)


# -- nothing else is touched


def is_public(name: str) -> bool:
    module, _, last = name.rpartition(".")
    if module == "huggingface_hub":
        return last in huggingface_hub.__all__ or name in PUBLIC
    if module == "huggingface_hub.utils":
        return last in client_utils.__all__
    if module == "huggingface_hub.errors":
        return not last.startswith("_") and issubclass(getattr(client_errors, last), Exception)
    return name in PUBLIC


def names_of(source: str) -> Iterator[str]:
    """Dotted names that a module takes from the client, by any of the ways in which this package imports."""
    tree = ast.parse(source)
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in CLIENT:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in CLIENT:
                    bound[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and (module := imported_module(node.value)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            bound[ast.unparse(target)] = module
    yield from bound.values()
    for node in ast.walk(tree):
        dotted = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        first, _, rest = dotted.partition(".") if re.fullmatch(r"[\w.]+", dotted) else ("", "", "")
        # of a class, say HfApi, the members are not looked at: what starts with an underscore is, below
        if first in bound and (bound[first] in CLIENT or bound[first].endswith(("constants", "utils", "errors"))):
            yield f"{bound[first]}.{rest}"


def imported_module(value: ast.expr | None) -> str | None:
    """The module that ``importlib.import_module("...")`` names, if it is the client's."""
    match value:
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name))]):
            return name if name.split(".")[0] in CLIENT else None
        case _:
            return None


def taken(path: Path) -> set[str]:
    found = set(names_of(path.read_text("utf-8")))
    return {name for name in found if not is_public(name)}


def test_every_private_name_is_listed() -> None:
    touched = {name for path in SCANNED for name in taken(path)}
    assert touched == set(PRIVATE)


def test_no_member_of_the_clients_objects_is_private() -> None:
    touched = [
        f"{path.name}: {ast.unparse(node)}"
        for path in SCANNED
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls", "os")
    ]
    assert touched == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from huggingface_hub._jobs_api import X", {"huggingface_hub._jobs_api.X"}),
        ("import huggingface_hub.hf_api as _", {"huggingface_hub.hf_api"}),
        (
            "from huggingface_hub import constants\nconstants.Y",
            {"huggingface_hub.constants", "huggingface_hub.constants.Y"},
        ),
        (
            "import huggingface_hub as hub\nhub.utils._http.z()",
            {"huggingface_hub.utils._http.z", "huggingface_hub.utils._http"},
        ),
        ("import importlib\nhub = importlib.import_module('hf_xet')\nhub.upload()", {"hf_xet.upload"}),
        (
            "from huggingface_hub import HfApi\nfrom huggingface_hub.utils import build_hf_headers\nHfApi().whoami()",
            set(),
        ),
    ],
)
def test_the_scan_sees_each_way_to_take_a_name(tmp_path: Path, source: str, names: set[str]) -> None:
    (tmp_path / "x.py").write_text(source)
    assert taken(tmp_path / "x.py") == names
