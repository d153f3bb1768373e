"""Forks of the warm process are processes like any other: they find each other, and one that fails is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.methods import Warm


def script(folder: Path, code: str) -> Path:
    path = folder / "script.py"
    path.write_text(code, "utf-8")
    return path


def test_ranks_find_each_other(warm: Warm, tmp_path: Path) -> None:
    code = """
import json, sys
import torch
import torch.distributed as dist
from accelerate import PartialState
state = PartialState(cpu=True)
total = torch.tensor([1.0 + state.process_index])
dist.all_reduce(total)
print(json.dumps({"event": "hft.end", "total": total.item(), "ranks": state.num_processes, "name": __name__}))
print(sys.argv)
dist.destroy_process_group()
"""
    path = script(tmp_path, code)
    (end,) = warm.run_file("sft", path, processes=2).named("end")
    assert (end["total"], end["ranks"], end["name"]) == (3.0, 2, "__main__")
    assert (tmp_path / "out-1.txt").read_text().splitlines()[-1] == str([str(path)])


def test_a_rank_that_fails_ends_the_others(warm: Warm, tmp_path: Path) -> None:
    code = "import os, time\nif os.environ['RANK'] == '1':\n    raise SystemExit('given up')\ntime.sleep(3600)\n"
    with pytest.raises(AssertionError, match="given up"):
        warm.run_file("sft", script(tmp_path, code), processes=2)


def test_a_traceback_is_that_of_the_script(warm: Warm, tmp_path: Path) -> None:
    path = script(tmp_path, "\n\nraise ValueError('on purpose')\n")
    with pytest.raises(AssertionError, match=rf'File "{path}", line 3, in <module>\n.*\nValueError: on purpose'):
        warm.run_file("sft", path)


def test_nothing_is_left_to_the_next(warm: Warm, tmp_path: Path) -> None:
    first = script(tmp_path, "import os, sys\nos.environ['RANK'] = '7'\nsys.modules['torch'] = None\n")
    warm.run_file("sft", first, OF_THE_FIRST="1")
    second = "import os, torch\nassert not {'RANK', 'OF_THE_FIRST'} & os.environ.keys()\n"
    warm.run_file("sft", script(tmp_path, second))
