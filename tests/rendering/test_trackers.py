"""Every tracker has its row, its block, its pin and its name, and a script calls the block as it is."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.planning.arguments.trackers import TRACKERS
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.rendering.paste import block_names, runtime_block
from hfjobs_trainer.specs.groups import Reporter
from tests.rendering.ruffed import format_changes, lint_findings


def training(reporter: str, _: Path, **tracking: Any) -> str:
    tracking = {"report_to": reporter, **tracking}
    spec = {"method": "sft", "model": "me/model", "dataset": "me/data", "tracking": tracking}
    return hft.render(spec, backend="local", offline=True)


def script(reporter: str, folder: Path, **tracking: Any) -> str:
    (folder / "mine.py").write_text("print()\n", encoding="utf-8")
    spec = {"method": "script", "script": str(folder / "mine.py"), "tracking": {"report_to": reporter, **tracking}}
    return hft.render(spec, backend="local", offline=True)


def calls(text: str) -> dict[str, set[str]]:
    """The functions that ``main`` calls, each with the names of what it is given."""
    (main,) = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "main")
    found = [node for node in ast.walk(main) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return {ast.unparse(node.func): {str(keyword.arg) for keyword in node.keywords} for node in found}


def test_types_rows_blocks_and_pins_name_the_same_trackers() -> None:
    assert get_args(Reporter) == (*TRACKERS, "none")
    assert {f"track_{name}" for name in TRACKERS} == {name for name in block_names() if name.startswith("track_")}
    assert all(pins().requirement(name) for name in TRACKERS)


@pytest.mark.parametrize("rendered", [training, script])
@pytest.mark.parametrize("reporter", TRACKERS)
def test_a_script_tells_a_tracker_what_its_block_takes(
    reporter: str, rendered: Callable[[str, Path], str], tmp_path: Path
) -> None:
    block, called = runtime_block(f"track_{reporter}").definitions, calls(rendered(reporter, tmp_path))
    (track,) = ast.parse(block["track"].source).body
    assert isinstance(track, ast.FunctionDef)
    taken = {item.arg for item in (*track.args.args, *track.args.kwonlyargs)}
    assert called["track"] <= taken or track.args.kwarg is not None
    needed = track.args.args[: len(track.args.args) - len(track.args.defaults)]
    assert {item.arg for item in needed} <= called["track"]
    assert ("config" in taken) == ("config" in called["track"])
    assert ("end_tracking" in block) == ("end_tracking" in called)


@pytest.mark.parametrize("rendered", [training, script])
def test_values_of_ones_own_are_in_the_config(rendered: Callable[..., str], tmp_path: Path) -> None:
    text = rendered("trackio", tmp_path, config={"beta": 0.1, "note": 'it\'s "new"'})
    assert '"beta": 0.1,' in text
    assert lint_findings(tmp_path, {"tracked": text}) == ""
    main = text[text.index("def main") : text.index("\n\n\n# ---")] + "\n"
    assert format_changes(tmp_path, {"tracked": main}) == ""
    with pytest.raises(hft.SpecError, match="_group, model is taken: choose another name"):
        hft.Tracking(config={"_group": 1, "model": "x"})


def test_the_guide_lists_what_report_to_takes() -> None:
    guide = Path(__file__).parents[2] / "references/trackio_guide.md"
    (row,) = (line for line in guide.read_text(encoding="utf-8").splitlines() if line.startswith("| `report_to`"))
    assert all(f'`"{name}"`' in row for name in get_args(Reporter))
