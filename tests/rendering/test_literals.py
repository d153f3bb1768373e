"""Literals evaluate to their value and to nothing else; text stays on one line, and the formatter changes nothing."""

from __future__ import annotations

import ast
import json
import keyword
import math
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rendering.hostile import HOSTILE
from rendering.ruffed import format_changes

from hfjobs_trainer.rendering.literals import (
    LINE_LENGTH,
    assignment,
    dict_lines,
    identifier,
    json_block,
    keyword_lines,
    python_literal,
    toml_string,
    toml_value,
)

QUIET = settings(max_examples=3 * settings.default.max_examples, suppress_health_check=[HealthCheck.too_slow])

any_text = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(),
    st.text(st.characters(codec=None)),  # lone surrogates as well
    st.lists(st.sampled_from([*HOSTILE, "'", '"', "\\", "\n", "x", "日", "é"]), max_size=6).map("".join),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), any_text
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(any_text, inner, max_size=4),
    ),
    max_leaves=12,
)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,60}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
# A surrogate cannot be encoded as UTF-8, in which JSON and TOML files are.
encodable = any_text.filter(lambda text: not any(unicodedata.category(char) == "Cs" for char in text))


@QUIET
@given(values, st.integers(0, 5), st.integers(0, 100))
def test_a_literal_evaluates_to_its_value(value: Any, depth: int, column: int) -> None:
    found = ast.literal_eval(python_literal(value, indent=4 * depth, column=max(column, 4 * depth)))
    assert found == value
    assert repr(found) == repr(value)  # True is not 1, a list is not a tuple, 0.0 is not -0.0, and order is kept


@QUIET
@given(any_text)
def test_text_is_one_line_of_visible_characters(text: str) -> None:
    literal = python_literal(text)
    assert len(literal.splitlines()) == 1
    assert literal.isprintable()
    literal.encode("utf-8")


@QUIET
@given(st.dictionaries(names, values, max_size=5), st.integers(0, 5))
def test_keyword_lines_are_the_arguments_of_a_call(arguments: dict[str, Any], depth: int) -> None:
    call = ast.parse(f"f(\n{keyword_lines(arguments, indent=4 * depth)}\n)", mode="eval").body
    assert isinstance(call, ast.Call)
    assert not call.args
    assert [(item.arg, ast.literal_eval(item.value)) for item in call.keywords] == list(arguments.items())


@QUIET
@given(names, values)
def test_an_assignment_is_one_statement(name: str, value: Any) -> None:
    (statement,) = ast.parse(assignment(name, value)).body
    assert isinstance(statement, ast.Assign)
    assert ast.unparse(statement.targets) == name
    assert ast.literal_eval(statement.value) == value


@QUIET
@given(
    encodable,
    st.lists(encodable, max_size=3),
    st.dictionaries(encodable, encodable, max_size=3),
    st.integers(),
    st.booleans(),
)
def test_toml_reads_back(text: str, items: list[str], table: dict[str, str], number: int, truth: bool) -> None:
    number %= 2**63
    lines = [f"text = {toml_string(text)}", f"items = {toml_value(items)}", f"table = {toml_value(table)}"]
    lines += [f"number = {toml_value(number)}", f"truth = {toml_value(truth)}"]
    assert len(toml_string(text).splitlines()) == len(toml_value(table).splitlines()) == 1
    assert "\n".join(lines).isascii()
    assert tomllib.loads("\n".join(lines)) == {
        "text": text,
        "items": items,
        "table": table,
        "number": number,
        "truth": truth,
    }


@QUIET
@given(st.dictionaries(any_text, values, max_size=4), st.sampled_from([None, 2]))
def test_json_stands_in_toml_as_it_is(value: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    block = json_block(text)
    assert block.isascii()
    assert json.loads(tomllib.loads(f"spec = {block}")["spec"]) == json.loads(text)
    # a line of it can neither end the header nor begin another
    assert not any(line.startswith("///") for line in block.splitlines())


@pytest.mark.parametrize("text", ['{"a": "é"}', '{"a":\t1}', '{"a":\r1}', '{"a": "\x00"}'])
def test_what_is_no_ascii_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        json_block(text)


def test_a_lone_surrogate_has_no_toml() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        toml_string("a\ud800")


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        b"bytes",
        {1, 2},
        object(),
        1j,
        ...,
        int,
        len,
        Path("x"),
        [{"a": (b"",)}],
        {b"": 1},
    ],
)
def test_what_has_no_literal_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        python_literal(value)
    with pytest.raises(TypeError, match="cannot be written"):
        keyword_lines({"name": value}, indent=4)
    with pytest.raises(TypeError, match="cannot be written"):
        assignment("NAME", value)


class Shouting(str):
    def __repr__(self) -> str:
        return "print('code')"


class Loud(int):
    def __repr__(self) -> str:
        return "print('code')"


class Noisy(float):
    def __repr__(self) -> str:
        return "print('code')"


def test_a_subclass_is_written_as_its_value() -> None:
    assert python_literal([Shouting("a"), Loud(1), Noisy(0.5)]) == '["a", 1, 0.5]'


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a=1", "a, b", "a\n", "1a", "class", "None", "lambda", "ﬁ", "é", "a.b", "a;b", "*a", "**a", "a#"],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Python name"):
        identifier(name)
    with pytest.raises(ValueError, match="Python name"):
        keyword_lines({name: 1}, indent=0)
    with pytest.raises(ValueError, match="Python name"):
        assignment(name, 1)


@pytest.mark.parametrize("name", ["a", "_", "snake_case", "T5Config", "match", "type", "_0"])
def test_a_name_is_itself(name: str) -> None:
    assert identifier(name) == name


# -- layout


def module(index: int, value: Any) -> str:
    """A module that holds the value everywhere a script may hold one."""
    deep, deeper = (keyword_lines({"value": value, "more": [value]}, indent=depth) for depth in (8, 12))
    return "\n".join(
        [
            assignment(f"X{index}", value),
            "",
            "",
            "def main():",
            f"    x = call(\n{deep}\n    )",
            f"    y = call(\n        one=call(\n{deeper}\n        ),\n    )",
            f"    z = call(\n        {python_literal(value, indent=8)},",
            f"        {{\n{dict_lines({'a b': value}, indent=12)}\n        }},\n    )",
            "",
        ]
    )


def assert_formatted(folder: Path, cases: list[Any]) -> None:
    texts = {f"case_{index}": module(index, value) for index, value in enumerate(cases)}
    assert format_changes(folder, texts) == ""


def test_text_of_every_length_around_the_limits(tmp_path: Path) -> None:
    around = range(LINE_LENGTH - 25, LINE_LENGTH + 4)
    shapes: list[Any] = []
    for length in around:
        text = "x" * length
        shapes += [
            text,
            "'" + text,
            '"' + text,
            [text],
            (text,),
            {"key": text},
            {text: 1},
            {text: [1, 2]},
            {"k": {"a": [text]}},
        ]
        shapes += [
            [text[: length // 2]] * 2,
            {"a": text[: length // 2], "b": text[length // 2 + 9 :]},
            text.replace("xx", "日"),
        ]
        shapes += [
            ["é" + text[1:]],
            [text[2:] + "日"],
            ["e\u0301" + text[1:]],
            [text[5:] + "👩‍🚀🇫🇷"],
            "ก็" + text,
            {"สำ": text},
        ]
    assert_formatted(tmp_path, shapes)


def test_hostile_text_at_every_length(tmp_path: Path) -> None:
    assert_formatted(
        tmp_path,
        [
            shape
            for text in HOSTILE
            if len(text) < 200
            for pad in (0, 40, 60, 70)
            for shape in (text + "x" * pad, [text + "x" * pad])
        ],
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_any_value_is_formatted_as_the_formatter_would(tmp_path: Path, seed: int) -> None:
    cases: list[Any] = []

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(values)
    def collect(value: Any) -> None:
        cases.append(value)

    collect()
    assert len(cases) >= 300
    assert_formatted(tmp_path, cases)


def test_numbers_are_formatted(tmp_path: Path) -> None:
    numbers = [0, -1, 2**70, 1e16, -1e16, 1e-5, 1e300, 5e-324, 0.1, -0.0, 2.0, 1e22, 123456789.123456789]
    assert [ast.literal_eval(python_literal(number)) for number in numbers] == numbers
    assert_formatted(tmp_path, [*numbers, numbers, {"a": numbers}])
