"""No text in any field becomes code, markup, TOML or a second header."""

from __future__ import annotations

import ast
import functools
import json
import re
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from huggingface_hub.cli._uv_script_header import parse_uv_script_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from rendering.hostile import HOSTILE
from rendering.ruffed import format_changes, lint_findings

import hfjobs_trainer as hft

# As PEP 723 prints it.
REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

# What a method needs beside a model and a dataset, by the name of the field.
NEEDED = {"reward_funcs": "think_format_reward", "reward_model": "org/reward", "teacher_model": "org/teacher"}
SHARED = {"model": "org/model", "dataset": "org/dataset", "timeout": "1h", "hardware": "a10g-large"}
BASES: dict[str, dict[str, Any]] = {
    method: SHARED
    | ({"max_steps": 10} if method != "ppo" else {})
    | {name: value for name, value in NEEDED.items() if name in spec.model_fields}
    for method, spec in hft.METHODS.items()
}
GROUPS: dict[str, dict[str, Any]] = {
    "dataset": {"id": "org/dataset"},
    "eval_dataset": {"id": "org/dataset"},
    "lora": {},
    "hardware": {"flavor": "a10g-large"},
    "tracking": {},
    "output": {},
}
WRAPS: dict[str, Callable[[str], Any]] = {
    "text": lambda text: text,
    "item": lambda text: [text],
    "value": lambda text: {"level": text},
    "key": lambda text: {text: "value"},
    "inside": lambda text: {"level": {"inner": [text, {text: 1}]}},
}
# One of these is right for every field: a name, a repository, a path, a file, a requirement, a URL, a duration ...
HARMLESS = (
    "probe",
    "org/probe",
    "./probe",
    "probe.jsonl",
    "probe.csv",
    "probe.parquet",
    "probe==1.0",
    "https://probe.org",
    "2h",
    "10m",  # so short that no checkpoint leaves the machine
)
BACKENDS = ("hub", "local")


@dataclass(frozen=True)
class Place:
    """Somewhere in a spec where text may stand."""

    method: str
    path: str
    wrap: str

    def __str__(self) -> str:
        return f"{self.method}.{self.path}:{self.wrap}"

    def fields(self, text: str) -> dict[str, Any]:
        value = WRAPS[self.wrap](text)
        group, _, name = self.path.partition(".")
        return {group: {**GROUPS[group], name: value}} if name else {group: value}

    def spec(self, text: str) -> Any:
        return hft.METHODS[self.method](**{**BASES[self.method], **self.fields(text)})


def _group_fields(annotation: Any) -> Mapping[str, Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields
    return next((fields for member in get_args(annotation) if (fields := _group_fields(member))), {})


def _takes_text(annotation: Any) -> bool:
    return annotation in {str, Any} or any(_takes_text(member) for member in get_args(annotation) if member != ...)


@functools.cache
def _fitting(path: str, wrap: str, annotation: str, first: str) -> tuple[str, ...]:
    """The harmless texts that the method which comes first takes there; another field of the type takes no others."""
    return tuple(text for text in HARMLESS if _built(Place(first, path, wrap), text))


def _places() -> Iterator[Place]:
    """Every place of every method that takes some text: whatever can be built with one of the harmless texts."""
    first: dict[tuple[str, str], str] = {}
    for method, spec in hft.METHODS.items():
        for name, field in spec.model_fields.items():
            nested = _group_fields(field.annotation) if name in GROUPS else {}
            if name == "method" or not (nested or name == "timeout" or _takes_text(field.annotation)):
                continue
            kind = str(field.annotation)
            for path in (name, *(f"{name}.{inner}" for inner, part in nested.items() if _takes_text(part.annotation))):
                for wrap in WRAPS:
                    place = Place(method, path, wrap)
                    fitting = _fitting(path, wrap, kind, first.setdefault((path, kind), method))
                    if any(_built(place, text) for text in fitting):
                        yield place


def _built(place: Place, text: str) -> Any:
    try:
        return place.spec(text)
    except hft.SpecError:
        return None


PLACES = list(_places())


def _once() -> list[Place]:
    """Each place once: those that the methods share go round among them."""
    by_name: dict[str, list[Place]] = {}
    for place in PLACES:
        by_name.setdefault(f"{place.path}:{place.wrap}", []).append(place)
    return [places[index % len(places)] for index, places in enumerate(by_name.values())]


def planned(spec: Any, backend: str) -> hft.Plan | None:
    """The plan, or nothing if the spec is refused with its problems; any other exception is a defect."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return hft.plan(spec, facts=hft.Facts(), backend=backend)
    except hft.SpecError as error:
        return None if error.problems else pytest.fail("refused without a reason")


# -- what must hold for each script


def halves(script: str) -> tuple[str, str]:
    """What differs from script to script, and the runtime blocks behind it, without the spec at the end."""
    cut = script.rindex("\n\n\ndef relaunch(")
    return script[:cut], script[cut : script.rindex("\n# /// hfjobs-trainer\n")]


def outline(source: str) -> tuple[list[Any], list[Any]]:
    """The syntax tree without the values of its constants, and those values."""
    shape: list[Any] = []
    constants: list[Any] = []
    queue: list[Any] = [ast.parse(source)]
    for item in queue:
        if isinstance(item, ast.Constant):
            constants.append(item.value)
            shape.append(ast.Constant)
        elif isinstance(item, ast.keyword):  # its name may be a key that the user chose
            constants.append(item.arg)
            shape.append(ast.keyword)
            queue.append(item.value)
        elif isinstance(item, ast.AST):
            shape.append(type(item))
            queue += [getattr(item, name, None) for name in item._fields]
        elif isinstance(item, list):
            shape.append(len(item))
            queue += item
        else:
            shape.append(item)
    return shape, constants


def blocks(script: str) -> dict[str, dict[str, Any]]:
    """What the script's two blocks say: its header, and the spec at its end."""
    first, last = REFERENCE.finditer(script)
    assert (first["type"], last["type"]) == ("script", "hfjobs-trainer")
    assert (first.start(), last.end()) == (0, len(script) - 1)
    assert len(re.findall(r"(?m)^\s*# /// ", script)) == 2
    found: dict[str, dict[str, Any]] = {}
    for block in (first, last):
        lines = block["content"].splitlines(keepends=True)
        content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
        found[block["type"]] = tomllib.loads(content)
    return found


def assert_safe(plan: hft.Plan, folder: Path) -> None:
    """One header that says what the request says, the same spec again, and lines that are what they look like."""
    script, request, spec = plan.script, plan.request, plan.spec
    assert script.count("\n") == len(script.splitlines())
    assert all(line.isprintable() for line in script.split("\n"))
    script.encode("utf-8")
    found = blocks(script)
    toml, stored = found["script"], found["hfjobs-trainer"]
    assert set(toml) == {"requires-python", "dependencies", "tool"}
    assert set(toml["tool"]) == {"uv", "hf-jobs"}
    assert set(toml["tool"]["uv"]) == {"exclude-newer", "exclude-newer-package"}
    extra = spec.extra_dependencies
    assert toml["dependencies"][len(toml["dependencies"]) - len(extra) :] == extra
    assert stored["digest"] == spec.digest
    assert json.loads(stored["spec"]) == spec.to_dict()
    launch = parse_uv_script_header(script)
    assert launch is not None
    assert (launch.image, launch.flavor, launch.name, launch.namespace) == (
        request.image,
        request.flavor,
        request.name,
        request.namespace,
    )
    assert launch.timeout == (f"{request.timeout_seconds}s" if request.timeout_seconds else None)
    assert (launch.env, launch.secrets, launch.labels) == (
        dict(request.env),
        list(request.secrets),
        dict(request.labels),
    )
    assert (launch.python, launch.network_group, launch.volumes, launch.network_aliases) == (None, None, [], [])
    assert re.fullmatch(r"[a-z0-9_-]+", request.name)
    file = folder / "script.py"
    file.write_bytes(script.encode("utf-8"))
    loaded = hft.load(file)
    assert loaded == spec
    assert loaded.digest == spec.digest


def assert_planned_again(plan: hft.Plan) -> None:
    """A plan follows from its spec alone: once more gives the same script."""
    again = planned(plan.spec, plan.backend)
    assert again is not None
    assert again.script == plan.script


@functools.cache
def harmless(place: Place, backend: str) -> list[tuple[str, list[Any], list[Any], str]]:
    """Scripts of the place with harmless texts: the text, the shape, the constants, the runtime blocks."""
    found: list[tuple[str, list[Any], list[Any], str]] = []
    for text in HARMLESS:
        spec = _built(place, text)
        if spec is not None and (plan := planned(spec, backend)) is not None:
            own, runtime = halves(plan.script)
            found.append((text, *outline(own), runtime))
    return found


def assert_only_a_value(plan: hft.Plan, place: Place, text: str) -> None:
    """The script has the shape of one with a harmless text, and the text where that one was."""
    own, runtime = halves(plan.script)
    shape, found = outline(own)
    alike = [
        (probe, values)
        for probe, other, values, rest in harmless(place, plan.backend)
        if (other, rest) == (shape, runtime)
    ]
    assert alike, f"{place} with {text!r} changes the shape of the script"
    for probe, values in alike:
        places = [index for index, value in enumerate(values) if value == probe]
        if all(found[index] == text for index in places):
            break
    else:
        raise AssertionError(f"{place} with {text!r} is not in the script")


def try_text(place: Place, text: str, folder: Path, backends: Sequence[str] = BACKENDS) -> int:
    """Plan and render a text at a place; how many scripts came out."""
    spec = _built(place, text)
    if spec is None:
        return 0
    rendered = 0
    for backend in backends:
        if (plan := planned(spec, backend)) is not None:
            assert_safe(plan, folder)
            assert_only_a_value(plan, place, text)
            rendered += 1
    return rendered


# -- the tests


def test_every_free_text_field_is_among_the_places() -> None:
    paths = {place.path for place in PLACES}
    expected = "model model_revision attn_implementation dataset.id dataset.config dataset.split dataset.revision"
    expected += " dataset.columns"
    expected += (
        " eval_dataset.id lora.target_modules lora.modules_to_save tracking.project tracking.name tracking.group"
    )
    expected += (
        " tracking.space_id output.hub_model_id env secrets image labels namespace extra_dependencies hardware.flavor"
    )
    expected += " hardware.fsdp_config hardware.deepspeed hardware.accelerator_config output_dir model_init_kwargs"
    expected += " generation_kwargs chat_template_kwargs reward_funcs optim_args lr_scheduler_kwargs chat_template_path"
    assert set(expected.split()) <= paths


@pytest.mark.slow
@pytest.mark.parametrize("place", _once(), ids=str)
def test_hostile_text_is_refused_or_only_a_value(place: Place, tmp_path: Path) -> None:
    for text in HOSTILE:
        try_text(place, text, tmp_path, ["hub"])


def test_some_hostile_text_comes_through_in_most_places(tmp_path: Path) -> None:
    through = {place.path for place in _once() if try_text(place, "😀\"'''{{ x }}\\", tmp_path)}
    assert {
        "dataset.columns",
        "tracking.project",
        "env",
        "model_init_kwargs",
        "output_dir",
        "lora.target_modules",
    } <= through


texts = st.one_of(
    st.text(),
    st.text(st.characters(codec=None)),
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=3)), max_size=4).map("".join),
)


@pytest.mark.parametrize("method", BASES)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data(), text=texts)
def test_any_text_anywhere(
    tmp_path_factory: pytest.TempPathFactory, method: str, data: st.DataObject, text: str
) -> None:
    place = data.draw(st.sampled_from([place for place in PLACES if place.method == method]))
    try_text(place, text, tmp_path_factory.getbasetemp())


def _everywhere(method: str, text: str, turn: int) -> Any:
    """A spec with the text in as many places as take it at once: what is refused is left out until nothing is."""
    given: dict[str, Any] = {}
    for place in PLACES[turn % len(WRAPS) :] + PLACES[: turn % len(WRAPS)]:
        if place.method == method:
            given[place.path] = WRAPS[place.wrap](text)
    for _ in range(20):
        fields = dict(BASES[method])
        for path, value in given.items():
            group, _, name = path.partition(".")
            if name:
                whole = fields.get(group)
                fields[group] = {**(whole if isinstance(whole, dict) else GROUPS[group]), name: value}
            elif group not in GROUPS:
                fields[group] = value
        try:
            spec = hft.METHODS[method](**fields)
            hft.plan(spec, facts=hft.Facts())
        except hft.SpecError as error:
            wrong = [item.path for item in error.problems if (item.severity, item.scope) == ("error", "script")]
            refused = {
                path
                for path in given
                for told in wrong
                if f"{told}.".startswith(f"{path}.") or path.startswith(f"{told}.")
            }
            if not refused:
                raise
            given = {path: value for path, value in given.items() if path not in refused}
        else:
            return spec
    raise AssertionError("problems come one by one")


@pytest.mark.slow
@pytest.mark.parametrize("method", BASES)
def test_scripts_full_of_hostile_text_are_clean(method: str, tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    (tmp_path / "scripts").mkdir()
    for index, text in enumerate(HOSTILE):
        spec = _everywhere(method, text, index)
        for backend in BACKENDS:
            plan = planned(spec, backend)
            assert plan is not None
            assert_safe(plan, tmp_path)
            assert_planned_again(plan)
            texts[f"{backend}_{index}"] = plan.script
    assert format_changes(tmp_path / "scripts", texts) == ""
    assert lint_findings(tmp_path / "scripts", texts) == ""


# -- values of a type that no file can hold


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (b"bytes", "not bytes"),
        ({1, 2}, "not set"),
        (object(), "not object"),
        (Path("x"), "not PosixPath"),
        ({1: 2}, "keys must be text"),
        ({None: 2}, "keys must be text"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        (10**5000, "64 bits"),
        (functools.reduce(lambda inner, _: [inner], range(2000), 0), "nested deeper"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("path", ["model_init_kwargs", "lr_scheduler_kwargs", "hardware.fsdp_config"])
def test_a_value_that_no_file_can_hold_is_a_problem(path: str, value: Any, why: str) -> None:
    group, _, name = path.partition(".")
    inside = {"deep": [{"key": value}]}
    with pytest.raises(hft.SpecError, match=why) as error:
        hft.SFT(**{**BASES["sft"], group: {name: inside} if name else inside})
    assert [problem.code for problem in error.value.problems] == ["SPEC003"]
    assert error.value.problems[0].path.startswith(f"{path}.deep.0.key")


def test_a_value_inside_is_told_beside_what_does_not_parse() -> None:
    with pytest.raises(hft.SpecError) as error:
        hft.SFT(**{**BASES["sft"], "max_steps": "many", "model_init_kwargs": {"a": b""}})
    assert {problem.path for problem in error.value.problems} == {"max_steps", "model_init_kwargs.a"}


@pytest.mark.parametrize("field", ["learning_rate", "max_grad_norm", "weight_decay"])
def test_no_number_is_infinite(field: str) -> None:
    with pytest.raises(hft.SpecError, match="finite"):
        hft.SFT(**{**BASES["sft"], field: float("inf")})


def test_a_number_of_any_length_is_told_shortly() -> None:
    with pytest.raises(hft.SpecError, match="64 bits"):
        hft.SFT(**{**BASES["sft"], "max_steps": 10**5000})


def test_tuples_and_lists_are_the_same_spec() -> None:
    given = {"betas": (0.9, (0.99, 1))}
    listed = {"betas": [0.9, [0.99, 1]]}
    specs = [hft.SFT(**BASES["sft"], model_init_kwargs=form, lr_scheduler_kwargs=form) for form in (given, listed)]
    assert specs[0] == specs[1]
    assert specs[0].digest == specs[1].digest
    assert len({hft.render(spec, facts=hft.Facts()) for spec in specs}) == 1
