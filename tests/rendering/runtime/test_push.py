"""A push outlasts a Hub that fails for a while, and a model that cannot be pushed is not lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime.push import may_pass

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("pushed_runs.py")
PLACE = "hf://buckets/alice/hft-checkpoints/run-1"


@dataclass(frozen=True)
class Case:
    """One push: what it reported, and what came of it."""

    events: list[dict[str, Any]]
    told: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        return [event["event"].removeprefix("hft.") for event in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == f"hft.{kind}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("push")


@pytest.fixture(scope="module")
def cases(tiny_model: Path, folder: Path) -> dict[str, Case]:
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "HF_HUB_OFFLINE")}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_model, folder], env=environment, capture_output=True, text=True, timeout=300
    )
    # the last of these pushes failed, and what ends a run knows it
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stderr.splitlines()[-1].startswith("The model was not pushed"), done.stderr[-4000:]
    found: dict[str, Case] = {}
    events: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        if line.startswith('{"case"'):
            found[json.loads(line)["case"]] = Case(events, json.loads(line))
            events = []
        elif line.startswith('{"event"'):
            events.append(json.loads(line))
    return found


WELL = ["pushed", "audited"]
RESCUED = ["rescued"]


# What was reported, and how often it was tried.
@pytest.mark.parametrize(
    ("case", "kinds", "tries"),
    [
        ("well", WELL, 1),
        ("to a branch", WELL, 1),
        ("500, then ok", ["warning", "warning", *WELL], 3),
        ("503 for ever", [*["warning"] * 3, *RESCUED], 4),
        ("401", RESCUED, 1),
        ("403", RESCUED, 1),
        ("403, no bucket", RESCUED, 1),
        ("404 once", ["warning", *WELL], 2),
        ("404 again", ["warning", *RESCUED], 2),
        ("vanishes once", ["warning", *WELL], 2),
        ("lacks a file once", ["warning", *WELL], 2),
        ("lacks a file", ["warning", *RESCUED], 2),
        ("other bytes once", ["warning", *WELL], 2),
        ("other bytes", ["warning", *RESCUED], 2),
        ("both", ["pushed", "audited", *WELL], 2),
        ("both, 403 for the merged", ["pushed", "audited", *RESCUED], 2),
        ("both, 403", ["rescued", *RESCUED], 2),
        ("hangs once", ["warning", *WELL], 2),
        ("hangs", ["warning", *RESCUED], 2),
    ],
)
def test_what_comes_of_a_push(cases: dict[str, Case], case: str, kinds: list[str], tries: int) -> None:
    found = cases[case]

    assert (found.kinds, found.told["tries"]) == (kinds, tries)
    # a model that is not on the Hub as it was saved makes the run a failure, which says where it is
    assert (not found.told["ended"]) is ("rescued" not in kinds)
    for rescued in found.of("rescued"):
        assert rescued["place"] in found.told["ended"]
        assert rescued["command"] in found.told["ended"]
        assert rescued["why"]


AS_SAVED = {
    "README.md",
    "hft_spec.json",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
}


@pytest.mark.parametrize("case", ["well", "vanishes once", "lacks a file once", "other bytes once"])
def test_a_pushed_model_is_there_as_it_was_saved(cases: dict[str, Case], case: str) -> None:
    told = cases[case].told
    (pushed,), (audited,) = cases[case].of("pushed"), cases[case].of("audited")

    there = {name: digest for name, digest in told["there"].items() if name != ".gitattributes"}
    assert set(there) == set(audited["files"]) > AS_SAVED
    assert there.items() <= told["saved"].items()
    assert audited["files"]["model.safetensors"] == there["model.safetensors"]
    assert pushed["url"].endswith("/alice/model")
    assert pushed["commit"] == audited["commit"]
    assert (pushed["repo"], pushed["branch"]) == ("alice/model", None)


def test_what_else_lies_in_the_folder_is_not_pushed(cases: dict[str, Case]) -> None:
    told = cases["well"].told

    assert {"checkpoint-1/optimizer.pt", "merged/model.safetensors"} <= set(told["saved"])
    assert not [name for name in told["there"] if "/" in name]


def test_a_branch_is_made_for_what_is_pushed_to_it(cases: dict[str, Case]) -> None:
    found = cases["to a branch"]

    assert found.of("pushed")[0]["branch"] == found.of("audited")[0]["branch"] == "partial"
    assert set(found.told["there"]) == {".gitattributes"}  # that is the main branch


@pytest.mark.parametrize("case", ["503 for ever", "401", "403", "404 again", "lacks a file", "other bytes", "hangs"])
def test_a_model_that_cannot_be_pushed_is_in_the_bucket(cases: dict[str, Case], case: str) -> None:
    kept, saved = cases[case].told["kept"], cases[case].told["saved"]

    assert cases[case].of("rescued")[0]["place"] == f"{PLACE}/model"
    model = {name.removeprefix("run-1/model/"): digest for name, digest in kept.items() if "merged" not in name}
    assert set(model) > AS_SAVED
    assert model.items() <= saved.items()
    assert "checkpoint-1/optimizer.pt" not in model


def test_so_is_a_merged_one(cases: dict[str, Case]) -> None:
    found = cases["both, 403"]
    places = [event["place"] for event in found.of("rescued")]

    assert places == [f"{PLACE}/model", f"{PLACE}/model-merged"]
    assert "run-1/model-merged/model.safetensors" in found.told["kept"]
    assert len(found.told["ended"].splitlines()) == 2


@pytest.mark.parametrize("case", ["403", "403, no bucket"])
def test_the_command_that_it_names_pushes_it(cases: dict[str, Case], case: str) -> None:
    told = cases[case].told
    (rescued,) = cases[case].of("rescued")

    assert told["command"][:2] == [rescued["command"], 0], told["command"][2]
    there = {name: digest for name, digest in told["there"].items() if name != ".gitattributes"}
    assert set(there) > AS_SAVED
    assert there.items() <= told["saved"].items()
    assert not [name for name in there if "/" in name]


def test_without_a_bucket_it_is_on_the_disk(cases: dict[str, Case], folder: Path) -> None:
    (rescued,) = cases["403, no bucket"].of("rescued")

    assert rescued["place"] == str(folder / "out")
    assert not cases["403, no bucket"].told["kept"]


def test_a_merged_model_goes_to_a_repository_of_its_own(cases: dict[str, Case], folder: Path) -> None:
    pushed = cases["both"].of("pushed")

    assert [event["repo"] for event in pushed] == ["alice/model", "alice/model-merged"]
    assert 'model="alice/model-merged"' in (folder / "out/merged/README.md").read_text()


# Whether it was loaded, what was reported, and what the run ends with.
@pytest.mark.parametrize(
    ("case", "kinds", "loaded", "why"),
    [
        ("as saved", ["reloaded"], True, ""),
        ("another template", ["warning", "reloaded"], True, ""),
        ("another end", ["warning", "reloaded"], True, ""),
        ("lacks weights", ["reloaded"], False, "weights, such as"),
        ("other weights", ["reloaded"], False, "away from the trained one's"),
        ("not a number", ["reloaded"], False, "nan% away from the trained one's"),
        ("no config", ["reloaded"], False, "config.json"),
        ("no weights", ["reloaded"], False, "has no weights"),
        ("spread", ["reloaded"], False, ""),
        ("adapter as saved", ["reloaded"], True, ""),
        ("adapter lacks weights", ["reloaded"], False, "not the one that was trained"),
        ("adapter cannot be read", ["reloaded"], False, 'not the one that was trained: ["SafetensorError'),
    ],
)
def test_the_saved_model_is_loaded_once(
    cases: dict[str, Case], case: str, kinds: list[str], loaded: bool, why: str
) -> None:
    found = cases[case]

    assert found.kinds == kinds
    assert found.of("reloaded")[0]["loaded"] is loaded
    assert why in found.told["ended"]
    assert bool(why) is bool(found.told["ended"])


def test_a_saved_model_that_ends_texts_otherwise_is_told(cases: dict[str, Case]) -> None:
    (template,), (end,) = cases["another template"].of("warning"), cases["another end"].of("warning")

    assert "another chat template" in template["message"]
    assert "generate() stops at token 3" in end["message"]
    assert "pass it eos_token_id=2" in end["message"]


@pytest.mark.parametrize(("said", "tries"), [("(403 Forbidden)", 0), ("(401 Unauthorized)", 0), ("(404 Not Found)", 1)])
def test_the_status_of_an_upload_stands_in_its_text(said: str, tries: int) -> None:
    error, failures = ConnectionError(f"HTTP status client error {said}"), list[Any]()
    assert [may_pass(error, failures) for _ in range(2)] == [tries > 0, False]
    assert may_pass(ConnectionError("reset, port=443"), failures)
