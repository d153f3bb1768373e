"""``check`` reports, ``load`` returns or refuses, whatever they are given; see ``hostile.py`` for what that is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.planning.model.patterns import fullmatch
from hfjobs_trainer.problems import Problem, Report
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.source import LARGEST, read_bytes
from hfjobs_trainer.specs.yaml_text import parse_yaml
from tests.specs import hostile, promises
from tests.specs.building import required, sft

# what is huge on purpose is the series' alone: `python -m benchmarks.faults specs`
_LARGE = ("10 MB", "30 MB", "50k", "100k", "20k", "bomb", "digits", "sparse", "million", "huge")
FILES = {label: make for label, make in hostile.files() if not any(word in label for word in _LARGE)}
PLACES = {label: make for label, make in hostile.places() if not any(word in label for word in (*_LARGE, "20,000"))}


def _drawn(draw: Callable[[hostile.Choose], hostile.Case]) -> some.SearchStrategy[hostile.Case]:
    @some.composite
    def strategy(pick: Callable[[Any], Any]) -> hostile.Case:
        return draw(lambda items: pick(some.sampled_from(items)))

    return strategy()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HFT_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


# what is drawn has a name and nothing to be shrunk
_MORE = settings(
    max_examples=400 if os.environ.get("CI") else 40, derandomize=True, database=None, phases=[Phase.generate]
)


@_MORE
@given(_drawn(hostile.draw_spec))
def test_check_never_raises(case: hostile.Case) -> None:
    assert promises.breach_of_check(case.make()) is None


@settings(_MORE, max_examples=60 if os.environ.get("CI") else 8)
@given(_drawn(hostile.draw_spec))
def test_nothing_but_our_errors_is_raised(case: hostile.Case) -> None:
    assert promises.breach_of_build(case.make()) is None


@pytest.mark.parametrize(
    "label", [label for label in hostile.WHOLE if not label.startswith(("50k", "5k", "endless", "many", "deep"))]
)
def test_whole_specs_that_are_wrong(label: str) -> None:
    assert promises.breach_of_check(hostile.WHOLE[label]()) is None


@_MORE
@given(some.sampled_from([*FILES]))
def test_load_returns_or_refuses(tmp_path_factory: pytest.TempPathFactory, label: str) -> None:
    assert promises.breach_of_load(FILES[label](tmp_path_factory.mktemp("files"))) is None


@settings(_MORE, max_examples=60 if os.environ.get("CI") else 10)
@given(some.sampled_from([*PLACES]))
def test_files_that_a_spec_names(tmp_path_factory: pytest.TempPathFactory, label: str) -> None:
    assert promises.breach_of_check(PLACES[label](tmp_path_factory.mktemp("places"))) is None


# -- what is given


def _only(report: Report, path: str) -> str:
    return next(problem.why for problem in report.problems if problem.path == path)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (hostile.nested(40, lambda value: {"a": value}), "is nested deeper than 32 levels"),
        ("x" * 1_000_001, "has 1,000,001 characters: the longest text is one of 1,000,000"),
        (10**5000, "must be an integer of at most 64 bits"),
        ({1 << 4000: 1}, "the keys must be text, not int"),
    ],
    ids=["depth", "text", "number", "key"],
)
def test_a_bound_is_told_once_with_its_path(value: Any, why: str) -> None:
    report = hft.check({"method": "sft", **required("sft"), "model_init_kwargs": {"here": value}}, offline=True)
    assert [item.why for item in report if item.path.startswith("model_init_kwargs")] == [why]


def test_what_contains_itself_is_told() -> None:
    given: dict[str, Any] = {"a": 1}
    given["b"] = [given]
    report = hft.check({"method": "sft", **required("sft"), "model_init_kwargs": given}, offline=True)
    assert _only(report, "model_init_kwargs.b.0") == "contains itself"


def test_an_interrupt_is_the_users() -> None:
    class Interrupts:
        def __iter__(self) -> Any:
            raise KeyboardInterrupt

        column_names = features = property(lambda self: self.__iter__())

    with pytest.raises(KeyboardInterrupt):
        hft.check({"method": "sft", "model": "me/model", "dataset": Interrupts()}, offline=True)


def test_classes_of_a_users_own_are_taken_for_what_they_hold() -> None:
    class Text(str):
        def __str__(self) -> str:
            raise RuntimeError

    spec = hft.SFT(model=Text("me/model"), dataset=hostile.Fields(id="me/data"), env=hostile.Fields(A=Text("1")))
    assert spec == sft(env={"A": "1"})
    assert type(spec.model) is str


# -- messages


def test_a_great_many_problems_are_told_in_brief() -> None:
    report = hft.check({"method": "sft", **{f"learning_rate_{number}": 1 for number in range(2_000)}}, offline=True)
    assert len(report.problems) >= 2_000
    assert len(str(report)) < promises.LONGEST
    assert re.search(r"\.\.\. and [\d,]+ more", str(report))


def test_a_message_shows_what_a_terminal_would_obey() -> None:
    problem = Problem("X001", "a\ud800", "red \x1b[31m and \u202e back", "x" * 5_000)
    assert (problem.path, problem.why, problem.fix) == ("a\\ud800", "red \\x1b[31m and \\u202e back", "")


def test_no_half_of_a_token_is_left_where_a_message_is_cut() -> None:
    token = "hf_" + "a" * 40
    for length in range(1_940, 2_010):
        assert "hf_" not in Problem("X001", "", "x" * length + " " + token + " " + "y" * 9_000).why


# -- files


@pytest.mark.parametrize("kind", ["fifo", "folder", "/dev/zero", "loop", "dangling", "socket"])
def test_what_is_no_file_is_refused_by_its_kind(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = dict(hostile.files())[f"{kind} as sft.yaml"](tmp_path)
    with pytest.raises(SpecError) as raised:
        hft.load(path)
    (problem,) = raised.value.problems
    assert problem.code == "LOAD001"
    assert str(path) in problem.why


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * LARGEST)
    assert len(read_bytes(path)) == LARGEST
    path.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(ValueError, match="more than 4,000,000 bytes"):
        read_bytes(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [*a]", "line 1: the value contains itself"),
        (hostile.bomb(9, 9), "values, with its aliases written out"),
        ("a: 1\na: 2", "line 2: the key 'a' comes twice"),
        ('a: !!int ""', "line 1, column 4: '' is no int"),
        ("a: !!timestamp x", "line 1, column 4: 'x' is no timestamp"),
        ("a: !!bool x", "line 1, column 4: 'x' is no bool"),
        ("[" * 40 + "]" * 40, "it is nested deeper than 32 levels"),
        ("--- 1\n--- 2", "but found another document"),
    ],
)
def test_yaml_that_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_yaml(text)


def test_yaml_with_anchors_is_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}] * 2,
    }


def test_json_in_which_a_key_comes_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"method": "sft", "model": "a/b", "model": "c/d"}')
    with pytest.raises(SpecError, match="the key 'model' comes twice"):
        hft.load(path)


# -- regular expressions

_PATHS = [
    f"model.{tower}layers.{layer}.{name}"
    for tower in ("", "language_model.", "visual.")
    for layer in range(0, 30, 7)
    for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.experts", "input_layernorm")
] + ["lm_head", "", "q_proj", "model.embed_tokens"]


@pytest.mark.parametrize(
    "pattern",
    [
        "all-linear",
        r".*\.(q|k|v)_proj",
        r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|v_proj).*?).*?",
        r"(?:.*?(?:vision|visual|language).*?(?:self_attn|attention|mlp).*?(?:q_proj|o_proj|gate_proj).*?)"
        r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|gate_proj)))",
        r"^(?!.*visual).*(?:q_proj|mlp.*)$",
        r"model\.(?:language_model\.)?layers\.(?:[0-9]|1[0-9])\.(?:self_attn\.[qkvo]_proj|mlp\..*)",
        r"(?i:MODEL)(?:\.\w+)+\.(?:[QO]_proj|experts)",
        r"(?:\w+\.){2,4}\w+",
        r"(?:\w+\.)*?(?=mlp)mlp\b.*",
        r".*[^\W\d_]\Z",
        r"(model|lm_|head)*",
        r"(?:.{3}){1,9}.?",
    ],
)
def test_patterns_match_as_pythons_own_matcher_says(pattern: str) -> None:
    assert [fullmatch(pattern, path) for path in _PATHS] == [re.fullmatch(pattern, path) is not None for path in _PATHS]


@given(some.text("ab.(|)*+?{1,2}[^]\\wd$", max_size=12), some.lists(some.text("ab.1", max_size=6), max_size=5))
def test_any_pattern_matches_as_pythons_own_matcher_says(pattern: str, texts: list[str]) -> None:
    try:
        compiled = re.compile(pattern)
    except re.error:
        with pytest.raises(re.error):
            fullmatch(pattern, "")
        return
    for text in texts:
        assert fullmatch(pattern, text) in (None, compiled.fullmatch(text) is not None)


@pytest.mark.parametrize("pattern", hostile.PATTERNS)
def test_patterns_that_would_take_for_ever_are_decided(pattern: str, tmp_path: Path) -> None:
    model = hostile.shape(tmp_path)
    report = hft.check(
        {"method": "sft", **required("sft"), "model": str(model), "lora": {"target_modules": pattern}}, offline=True
    )
    assert isinstance(report, Report)


def test_a_pattern_that_cannot_be_decided_is_told_as_unchecked(tmp_path: Path) -> None:
    model = hostile.shape(tmp_path)
    lora = hft.LoRA(target_modules=r"(.*)\.\1(x+x+)+y")
    report = hft.check(METHODS["sft"](model=str(model), dataset="me/data", lora=lora), offline=True)
    assert any(item.code == "LORA002" and "lora.target_modules" in item.needs for item in report.unchecked)
