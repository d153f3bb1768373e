"""The names that others rely on, what importing them loads, and what a type checker knows of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import hfjobs_trainer as hft
from tests.specs.building import required

ROOT = Path(__file__).parents[1]

NAMES = [
    "AuthError",
    "BackendError",
    "BudgetExceeded",
    "CPO",
    "Client",
    "DPO",
    "Dataset",
    "Diagnosis",
    "Distillation",
    "Facts",
    "GKD",
    "GRPO",
    "HFTError",
    "Hardware",
    "HubBackend",
    "HubUnavailable",
    "InProcessBackend",
    "Job",
    "JobFailed",
    "JobNotFound",
    "KTO",
    "LoRA",
    "LocalBackend",
    "METHODS",
    "NotAsked",
    "ORPO",
    "OnlineDPO",
    "Output",
    "PPO",
    "Plan",
    "Problem",
    "Quantization",
    "QuotaError",
    "RLOO",
    "RenderError",
    "Report",
    "Reward",
    "RewardTrial",
    "SFT",
    "ScheduledJob",
    "Script",
    "SmokeTest",
    "SpecError",
    "SubmitInterrupted",
    "Tracking",
    "__version__",
    "check",
    "compare_flavors",
    "diagnose",
    "estimate",
    "gather",
    "hardware_table",
    "jobs",
    "load",
    "pick_flavor",
    "plan",
    "preview",
    "recommend",
    "render",
    "scheduled_jobs",
    "smoke_test",
    "submit",
    "submit_cpo",
    "submit_distillation",
    "submit_dpo",
    "submit_gkd",
    "submit_grpo",
    "submit_kto",
    "submit_online_dpo",
    "submit_orpo",
    "submit_ppo",
    "submit_reward",
    "submit_rloo",
    "submit_script",
    "submit_sft",
    "try_rewards",
]
HEAVY = {"torch", "transformers", "trl", "datasets", "trackio", "accelerate", "peft"}
LATE = {
    "rich",
    "jinja2",
    "pydantic",
    "yaml",
    "httpx",
    "huggingface_hub.hf_api",
    "hfjobs_trainer.client",
    "hfjobs_trainer.specs.base",
}


def loaded(code: str) -> set[str]:
    """Modules that are loaded after this code has run in a fresh interpreter."""
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_the_names_are_these() -> None:
    assert sorted(hft.__all__) == sorted(NAMES)
    assert sorted(dir(hft)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_it_says(name: str) -> None:
    value = getattr(hft, name)
    assert value is getattr(hft, name)
    if name not in {"METHODS", "__version__"}:
        assert value.__name__ == name
        assert value.__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'hfjobs_trainer' has no attribute 'submit_nothing'"):
        hft.submit_nothing  # noqa: B018
    assert not hasattr(hft, "client_")


def test_importing_loads_next_to_nothing() -> None:
    modules = loaded("import hfjobs_trainer")
    assert not modules & (HEAVY | LATE)
    own = {name for name in modules if name.startswith("hfjobs_trainer")}
    assert own == {"hfjobs_trainer"}


def test_the_table_of_methods_is_lazy() -> None:
    files = sorted(path.stem for path in (ROOT / "hfjobs_trainer" / "specs" / "methods").glob("[!_]*.py"))
    assert {"dpo", "grpo", "sft"} < set(files)
    modules = loaded(f"import hfjobs_trainer as hft\nassert sorted(hft.METHODS) == {files}")
    assert not {name for name in modules if name.startswith("hfjobs_trainer.specs.methods.")}
    modules = loaded("import hfjobs_trainer as hft\nassert hft.METHODS['sft'] is hft.SFT")
    assert "hfjobs_trainer.specs.methods.sft" in modules
    assert "hfjobs_trainer.specs.methods.grpo" not in modules


@pytest.mark.parametrize("method", hft.METHODS)
def test_a_spec_and_its_plan_load_one_method(method: str) -> None:
    spec = hft.METHODS[method]
    modules = loaded(
        f"import hfjobs_trainer as hft\nspec = hft.{spec.__name__}(**{required(method)!r})\n"
        "hft.check(spec, facts=hft.Facts())\nprint(hft.plan(spec, facts=hft.Facts()))\n"
        "hft.render(spec, facts=hft.Facts(), backend='local')"
    )
    package = "hfjobs_trainer.specs.methods."
    bases = {base.__module__ for base in spec.__mro__}
    assert {name for name in modules if name.startswith(package)} == {
        name for name in bases if name.startswith(package)
    }
    assert "packaging.requirements" not in modules


@pytest.mark.parametrize(
    "code",
    [
        "spec = hft.SFT(model='a/b', dataset='c/d')",
        "hft.check({'method': 'dpo', 'model': 'a/b', 'dataset': 'c/d'}, offline=True)",
        "print(hft.plan(hft.SFT(model='a/b', dataset='c/d', timeout='1h'), offline=True))",
        "print(hft.hardware_table(offline=True), hft.pick_flavor(hft.SFT(model='a/b', dataset='c/d'), offline=True))",
        "hft.Client(), hft.Job, hft.InProcessBackend, hft.LocalBackend",
    ],
)
def test_nothing_loads_what_only_a_script_needs(code: str) -> None:
    assert not loaded(f"import hfjobs_trainer as hft\n{code}") & HEAVY


def test_checking_offline_does_not_load_the_hub() -> None:
    code = "import hfjobs_trainer as hft\nhft.render(hft.SFT(model='a/b', dataset='c/d', timeout='1h'), offline=True)"
    assert "huggingface_hub.hf_api" not in loaded(code)


def test_methods_is_a_mapping_of_spec_classes() -> None:
    assert isinstance(hft.METHODS, Mapping)
    for name, spec in hft.METHODS.items():
        assert (spec.METHOD.name, getattr(hft, spec.__name__)) == (name, spec)
    assert repr(hft.METHODS) == f"METHODS({', '.join(hft.METHODS)})"
    assert "nothing" not in hft.METHODS
    with pytest.raises(KeyError, match="nothing"):
        hft.METHODS["nothing"]


def test_exceptions_are_one_tree() -> None:
    assert issubclass(hft.SpecError, hft.HFTError)
    assert issubclass(hft.SpecError, ValueError)
    assert issubclass(hft.RenderError, hft.HFTError)
    assert issubclass(hft.JobFailed, hft.HFTError)
    for error in (hft.AuthError, hft.QuotaError, hft.JobNotFound, hft.HubUnavailable):
        assert issubclass(error, hft.BackendError)
    assert issubclass(hft.BackendError, hft.HFTError)


def test_a_type_checker_knows_every_argument() -> None:
    snippet = ROOT / "tests" / "typing" / "snippet.py"
    lines = snippet.read_text(encoding="utf-8").splitlines()
    result = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(snippet)],
        cwd=snippet.parent,
        capture_output=True,
        text=True,
    )
    found = json.loads(result.stdout[result.stdout.index("{") :])["generalDiagnostics"]
    wrong = [number for number, line in enumerate(lines) if line.endswith("# wrong")]
    assert [item["range"]["start"]["line"] for item in found] == wrong
    assert found[0]["message"] == 'No parameter named "betta"'
