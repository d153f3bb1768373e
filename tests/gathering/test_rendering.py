"""The process that renders: what it is asked, what it may take, and what is known again without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest
from gathering import repos
from gathering.families import assistant, make_model, system, user, write_rows

import hfjobs_trainer as hft
from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.facts import TemplateFacts
from hfjobs_trainer.gathering import gather, template

ROWS = [{"messages": [user(f"Question {number}"), assistant(f"Answer {number}")]} for number in range(3)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one's own, so that what an earlier test has rendered is not known."""
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    return cache_home() / "rendered"


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., TemplateFacts | None]:
    """What is seen of rows with the template of a model's folder."""

    def run(model: Path, rows: Any = ROWS, **fields: Any) -> TemplateFacts | None:
        data = write_rows(tmp_path / "rows.jsonl", rows)
        return gather(hft.SFT(model=str(model), dataset=str(data), **fields), offline=True).template

    return run


Look = Callable[..., TemplateFacts | None]


def test_what_was_rendered_is_known_again(tmp_path: Path, cache: Path, look: Look) -> None:
    model = make_model(tmp_path / "model", "qwen2_5")
    found = look(model)
    assert found is not None
    assert (found.rendered, found.talks, found.turn_end) == (3, 3, "<|im_end|>")
    (kept,) = cache.glob("*.json")
    # of another answer that is kept, one sees that it was not rendered anew
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"talks": 99}))
    assert (look(model) or found).talks == 99
    moved = make_model(tmp_path / "elsewhere", "qwen2_5")
    assert (look(moved) or found).talks == 99
    assert "Question" not in kept.read_text()
    for other in (look(make_model(tmp_path / "3", "qwen3")), look(model, ROWS[:2]), look(model, eos_token="</s>")):
        assert other is not None
        assert other.talks < 99
    # what is broken is rendered again
    kept.write_text("{")
    assert (look(model) or found).talks == 3


def test_a_sweep_renders_once(tmp_path: Path, cache: Path, look: Look) -> None:
    model = make_model(tmp_path / "model", "qwen2_5")
    facts = [look(model, learning_rate=rate, max_length=limit) for rate in (1e-5, 2e-5) for limit in (64, 128)]
    assert len(set(facts)) == 1
    assert len([*cache.glob("*.json")]) == 1


HOSTILE = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "huge": "{{ 'a' * 10 ** 12 }}",
    "curious": "{{ ''.__class__.__mro__ }}",
    "deep": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "broken": "{% for message in messages %}",
    "wordy": "{{ raise_exception('x' * 10 ** 7) }}",
}


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "endless"])
def test_hostile_templates_are_refused(kind: str, tmp_path: Path, look: Look) -> None:
    found = look(make_model(tmp_path / "model", HOSTILE[kind]))
    assert found is not None
    refused = found.find("raises")
    assert refused is not None
    assert refused.rows == 3
    assert len(refused.detail) <= 160


def test_an_endless_template_takes_its_time_once(tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path / "good", "qwen2_5")
    look(model)  # the process is there
    endless = make_model(tmp_path / "model", HOSTILE["endless"])
    (endless / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    spec = hft.SFT(model=str(endless), dataset=str(tmp_path / "rows.jsonl"))
    with monkeypatch.context() as patched:
        patched.setattr(template, "SECONDS", 1.0)
        found = [look(endless) for _ in range(20)]
        report = hft.check(spec, offline=True, backend="local")
    assert {facts.why_not for facts in found if facts} == {"rows rendered within 1 seconds"}
    assert [item.needs for item in report.unchecked if item.code == "TMPL001"] == ["rows rendered within 1 seconds"]
    # and others are rendered after it
    assert (look(model, ROWS[:1]) or TemplateFacts()).talks == 1


def test_what_cannot_be_loaded_is_told(tmp_path: Path, look: Look) -> None:
    model = make_model(tmp_path / "model", "qwen2_5")
    config = model / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}, "tokenizer_class": "Mine"}
    config.write_text(json.dumps(own))
    (model / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    look(model)
    assert not (tmp_path / "ran").exists()
    (model / "tokenizer.json").write_text("{}")
    found = look(model)
    assert found is not None
    assert found.why_not.startswith("rows as tokens: transformers cannot load the tokenizer")


SCRIPT = """
import os, sys, threading
import hfjobs_trainer as hft
from hfjobs_trainer.gathering import template
model, data, other = sys.argv[1:]
def talks(place):
    found = hft.gather(hft.SFT(model=model, dataset=place), offline=True).template
    return found.talks, found.why_not
results = []
threads = [threading.Thread(target=lambda: results.append(talks(data))) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
child = os.fork()
if child == 0:
    os._exit(0 if talks(other) == (1, "") else 1)
results.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
results.append(template._warm._child.is_alive)
print(results, [name for name in ("torch", "transformers", "trl", "jinja2") if name in sys.modules])
"""


def test_threads_forks_and_a_light_client(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", "qwen2_5")
    data, other = write_rows(tmp_path / "a.jsonl", ROWS), write_rows(tmp_path / "b.jsonl", ROWS[:1])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model), str(data), str(other)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HFT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [(3, "")] * 4
    assert done.stdout.strip() == f"{[*answers, 0, True]} []"


WITHOUT = """
import importlib.util, json, sys
import hfjobs_trainer as hft
from hfjobs_trainer.gathering import template
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "transformers" else find(name, *more)
model, data, executable = sys.argv[1:]
sys.executable = executable or sys.executable
template._environment.python(300.0, offline=False)
found = hft.gather(hft.SFT(model=model, dataset=data), offline=True).template
print(json.dumps([found.talks, found.why_not]))
"""


def without_the_libraries(tmp_path: Path, executable: str, **env: str) -> list[Any]:
    """What is seen by a client that lacks transformers."""
    model, data = make_model(tmp_path / "model", "qwen2_5"), write_rows(tmp_path / "rows.jsonl", ROWS)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(model), str(data), executable],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HFT_HOME": str(tmp_path / "home")} | env,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_without_the_libraries_the_command_is_told(tmp_path: Path) -> None:
    talks, why_not = without_the_libraries(tmp_path, str(tmp_path / "python"), PATH="")
    assert talks == 0
    assert 'pip install "hfjobs-trainer[local]"' in why_not


@pytest.mark.slow
def test_uv_makes_an_environment_without_torch(tmp_path: Path) -> None:
    assert without_the_libraries(tmp_path, "") == [3, ""]
    (place,) = (tmp_path / "home" / "environments").iterdir()
    assert not [*place.glob("lib/python*/site-packages/torch")]


def test_what_the_hub_has_is_rendered(hub: hubsim.Hub, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", "gemma", eos="<end_of_turn>", stops=["<end_of_turn>"])
    files = {path.name: path.read_text() for path in model.iterdir()}
    repos.make_repo(hub, "models", "me/gemma", files)
    data = write_rows(tmp_path / "rows.jsonl", [*ROWS, {"messages": [system("Be kind."), *ROWS[0]["messages"]]}])
    spec = hft.SFT(model="me/gemma", dataset=str(data))
    found = gather(spec, token=repos.TOKEN, endpoint=hub.endpoint).template
    assert found is not None
    refused = found.find("raises")
    assert refused is not None
    assert (refused.detail, refused.rows, found.stops) == ("System role not supported", 1, ("<end_of_turn>",))
    report = hft.Client(endpoint=hub.endpoint, token=repos.TOKEN).check(spec)
    assert "TMPL001" in [problem.code for problem in report.problems]
    # the client's cache has the vocabulary alone, which is no tokenizer
    offline = gather(spec, offline=True).template
    assert offline is not None
    assert offline.why_not == "the tokenizer of me/gemma"
    from huggingface_hub import hf_hub_download

    for name in ("config.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        hf_hub_download("me/gemma", name, endpoint=hub.endpoint, token=repos.TOKEN)
    assert gather(spec, offline=True).template == found


def test_given_facts_render_nothing(tmp_path: Path, cache: Path) -> None:
    model = make_model(tmp_path / "model", "qwen2_5")
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    hft.check(hft.SFT(model=str(model), dataset=str(data)), facts=hft.Facts(), backend="local")
    assert not cache.exists()


def test_nothing_is_asked_of_several_threads_at_once() -> None:
    warm = template.Warm("json.tool", most_bytes=100)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(warm.ask("{", 0.2, sys.executable))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    warm.stop()
    assert found == [None] * 3
