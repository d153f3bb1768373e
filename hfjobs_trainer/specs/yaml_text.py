"""YAML of a spec: what PyYAML's safe loader reads, of bounded size once its aliases are written out."""

from __future__ import annotations

from typing import Any

import yaml

from hfjobs_trainer.specs.given import DEEPEST, MOST_VALUES

_MERGE = "tag:yaml.org,2002:merge"
# What constructors of PyYAML raise beside YAMLError when a value does not fit its tag (PyYAML 6.0: constructor.py).
_UNFIT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


_Safe: Any = yaml.SafeLoader  # in part without types


class _Loader(_Safe):
    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return _Safe.construct_object(self, node, deep)
        except _UNFIT:
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            said = f"{node.value!r:.40} " if isinstance(node, yaml.ScalarNode) else ""
            raise yaml.constructor.ConstructorError(None, None, f"{said}is no {tag}", node.start_mark) from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        ValueError: It is no YAML, or more than one document; a key comes twice; a value contains itself; it is nested
            too deeply, or too large once its aliases are written out.
    """
    try:
        loader: Any = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _Size().of(root, 0)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'it is no YAML'}") from None
    except OverflowError:  # of chr(), in a text in quotes
        raise ValueError("an escape sequence stands for no character") from None


class _Size:
    """Number of values of a node, those counted again that an alias repeats."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.inside: set[int] = set()

    def of(self, node: yaml.Node, depth: int) -> int:
        """The number.

        Raises:
            ValueError: The node cannot be read within the bounds.
        """
        if not isinstance(node, yaml.CollectionNode):
            return 1
        number = id(node)
        if number in self.known:
            return self.known[number]
        if number in self.inside:
            raise ValueError(f"{_line(node)}the value contains itself")
        if depth > DEEPEST:
            raise ValueError(f"{_line(node)}it is nested deeper than {DEEPEST} levels")
        self.inside.add(number)
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated(node)
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value
        size = 1
        for part in parts:
            size += self.of(part, depth + 1)
            if size > MOST_VALUES:
                raise ValueError(f"{_line(node)}it has more than {MOST_VALUES:,} values, with its aliases written out")
        self.inside.discard(number)
        self.known[number] = size
        return size


def _refuse_repeated(node: yaml.MappingNode) -> None:
    told: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        if (key.tag, key.value) in told:
            raise ValueError(f"{_line(key)}the key {key.value!r:.60} comes twice")
        told.add((key.tag, key.value))


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: "
