"""What a diagnosis says to type is accepted where it is typed."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import hfjobs_trainer as hft
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.running.signatures import signatures
from tests.specs.building import required

FOLDER = Path(__file__).parent
HF = {"auth", "buckets", "upload"}
"""Commands of ``hf`` that fixes name; each is one of the client's."""
OTHER = {"accelerate launch": "accelerate", "trl vllm-serve": "trl"}
"""Commands of other packages."""
IN_SCRIPTS = ("return ", "row[", "def ", "load_dataset(", "trl==", "torch-backend = ", '"kernels-community')
"""How code begins that belongs into a function, a script of one's own or its header."""
FIELDS = re.compile(r"\w+")
VALUES = {
    "package": "pillow",
    "larger": "a100-large",
    "more_ram": "a100-large",
    "more_disk": "a100-large",
    "column": "prompt",
    "module": "PIL",
    "which": "eos_token",
    "again": "`job.resume()`",
    "longer": "`job.resume()`",
    "command": "hf upload",
}


def fixes() -> Iterator[tuple[str, str]]:
    for path in sorted((FOLDER / "logs").glob("*.txt")):
        with path.open(encoding="utf-8", newline="") as file:
            yield from ((path.stem, each.fix) for each in hft.diagnose(file.read()))
    for signature in signatures():
        for template in signature.fix:
            known = {name: VALUES.get(name, "name") for name in re.findall(r"\{(\w+)\}", template)}
            yield signature.code, re.sub(r"\{(\w+)\}", lambda match, known=known: known[match[1]], template)


CODE = sorted({code for _, fix in fixes() for code in re.findall(r"`([^`]+)`", fix)})


def keywords_of(code: str) -> dict[str, Any] | None:
    """The keyword arguments that the code consists of; ``None`` if it is something else."""
    try:
        call = ast.parse(f"f({code})", mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(call, ast.Call) or call.args or not call.keywords:
        return None

    def function(row: dict[str, Any]) -> dict[str, Any]:
        return row

    given = {"hft": hft, "function": function}
    return {str(each.arg): eval(ast.unparse(each.value), given) for each in call.keywords}  # noqa: S307 - our own data


def accepted(keywords: dict[str, Any]) -> bool:
    """Whether at least one method takes these fields with these values."""
    for method, kind in hft.METHODS.items():
        if keywords.keys() <= kind.model_fields.keys():
            extra = {"output_dir": "out"} if "output_dir" not in keywords else {}
            try:
                kind(**required(method) | extra | keywords)
            except hft.SpecError:
                continue
            return True
    return False


@pytest.mark.parametrize("code", CODE)
def test_code_of_a_fix_works(code: str) -> None:
    keywords = keywords_of(code)
    if keywords is not None:
        assert accepted(keywords), code
        for name in keywords.get("extra_dependencies", []):
            if name is not ...:
                Requirement(name.replace("==...", ""))
        if "hardware" in keywords and isinstance(keywords["hardware"], str):
            assert keywords["hardware"] in [flavor.name for flavor in snapshot().flavors]
    elif code.startswith(("job.", "[*job.")):
        assert hasattr(hft.Job, re.findall(r"job\.(\w+)", code)[0])
    elif code.startswith("hft."):
        called = re.fullmatch(r"hft\.(\w+)(?:\(.*\))?", code)
        assert called is not None
        assert hasattr(hft, called[1])
        if "max_resumes" in code:
            assert "max_resumes" in inspect.signature(hft.submit).parameters
    elif code.startswith("hf "):
        assert code.split()[1] in HF
    elif code in OTHER:
        assert find_spec(OTHER[code]) is not None
    elif FIELDS.fullmatch(code):
        known = {name for kind in hft.METHODS.values() for name in kind.model_fields}
        assert code in known | {"completions", "input_ids", "stopped", "ruin", "function"}
    else:
        assert code.startswith(IN_SCRIPTS), f"what kind of code is {code!r}?"


def test_every_source_is_a_page_or_a_document_of_this_repository() -> None:
    root = FOLDER.parents[1]
    for signature in signatures():
        path = signature.source.partition("#")[0]
        assert signature.source.startswith("https://") or (root / path).is_file(), signature.source
