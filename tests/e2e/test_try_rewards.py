"""Rewards tried: they get what the trainers give them, and whatever they do is told."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.trying.rewards import ROWS, listed_completions, read_trial, settings_of
from hfjobs_trainer.trying.run import Limits, mode_files
from tests.e2e.methods import Inputs, Warm, one_point_per_character

REWARDED = ("grpo", "rloo", "online_dpo")
NO_EVAL: dict[str, Any] = {"eval_fraction": None, "eval_strategy": "no"}
Try = Callable[..., hft.RewardTrial]


@pytest.fixture
def tried(inputs: Inputs, warm: Warm, tmp_path: Path) -> Try:
    """Try the rewards of a script in a fork of a process that has imported TRL."""

    def run(
        method: str,
        completions: Any = None,
        *,
        status: int = 0,
        seconds: float = 100.0,
        rows: int = ROWS,
        **changes: Any,
    ) -> hft.RewardTrial:
        fields = {"method": method, **inputs.fields(method, **changes)}
        plan = hft.plan(fields, backend="local", offline=True)
        folder = tmp_path / f"trial-{len(list(tmp_path.iterdir()))}"
        scratch, modes = folder / "scratch", folder / "modes"
        scratch.mkdir(parents=True)
        modes.mkdir()
        script = folder / "script.py"
        script.write_text(plan.script, "utf-8")
        for name, content in mode_files().items():
            (modes / name).write_bytes(content)
        given = listed_completions(completions)
        (modes / "rewards.json").write_text(json.dumps(settings_of(plan, given, rows=rows, seconds=seconds)))
        env = {"HFT_MODE_FILE": str(modes / "rewards.py"), "HFT_MODE_SCRATCH": str(scratch)}
        env["GIVEN"] = str(tmp_path / "tried.jsonl")
        ended = warm.start(script, processes=1, **env)
        assert ended == status, (folder / "err-0.txt").read_text()[-3000:]
        log = (folder / "err-0.txt").read_text("utf-8")
        found = json.loads((scratch / "result.json").read_text("utf-8"))
        return read_trial(found, plan, seconds=0.0, ended=f"status {ended}", log=log, given=len(given or ()))

    return run


def rows_of(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def sums(path: Path, count: int = 4) -> str:
    """Prompts of text, with answers."""
    return rows_of(path, [{"prompt": f"{n} + 1 =", "answer": str(n + 1), "level": n} for n in range(count)])


def recorded(prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> list[float]:
    import json as json_
    import os as os_

    lists: dict[str, Any] = {name: value for name, value in columns.items() if isinstance(value, list)}
    others = sorted(columns.keys() - lists.keys())
    kinds = [type(ids).__name__ for ids in completion_ids]
    told: Any = {"prompts": prompts, "completions": completions, "columns": lists, "others": others, "kinds": kinds}
    with open(os_.environ["GIVEN"], "a") as file:  # noqa: PTH123
        file.write(json_.dumps(told) + "\n")
    return [float(len(str(completion))) for completion in completions]


def triples(told: dict[str, Any]) -> list[str]:
    """What belongs together, for each completion."""
    columns = sorted(told["columns"].items())
    each = zip(told["prompts"], told["completions"], *(values for _, values in columns), strict=True)
    return sorted(json.dumps(item) for item in each)


@pytest.mark.parametrize("method", REWARDED)
def test_functions_get_what_the_trainer_gives_them(
    method: str, inputs: Inputs, warm: Warm, tried: Try, tmp_path: Path
) -> None:
    shuffle = {} if method == "online_dpo" else {"shuffle_dataset": False}
    path = rows_of(
        tmp_path / "rows.jsonl",
        [
            {"prompt": prompt, "answer": str(n), "extra": {"level": n}}
            for n in range(2)
            for text in [f"What is {n}? "]
            for prompt in [text if method == "rloo" else [{"role": "user", "content": text}]]
        ],
    )
    size = 2 if method == "online_dpo" else 4
    changes: dict[str, Any] = {"dataset": path, **NO_EVAL, "max_steps": 1, **shuffle}
    changes |= {"reward_funcs": [recorded], "per_device_train_batch_size": size, "save_strategy": "no"}
    script = tmp_path / "real" / "script.py"
    script.parent.mkdir()
    script.write_text(hft.render({"method": method, **inputs.fields(method, **changes)}, backend="local", offline=True))
    warm.run_file(method, script, GIVEN=str(tmp_path / "real.jsonl"))
    (real,) = [json.loads(line) for line in (tmp_path / "real.jsonl").read_text().splitlines()]
    assert len(real["completions"]) == 4
    # the same completions, by their prompts
    prompts: list[Any] = []
    for prompt in real["prompts"]:
        if prompt not in prompts:
            prompts.append(prompt)
    own = [[c for p, c in zip(real["prompts"], real["completions"], strict=True) if p == each] for each in prompts]
    order = [json.loads(line)["prompt"] for line in Path(path).read_text().splitlines()]
    given = [own[prompts.index(prompt)] for prompt in order]
    found = tried(method, given, **changes)
    assert not found.problems or [item.code for item in found.problems] == ["REWARD005"]
    told, again = [json.loads(line) for line in (tmp_path / "tried.jsonl").read_text().splitlines()]
    assert told == again
    assert triples(told) == triples(real)
    assert (told["others"], told["kinds"]) == (real["others"], real["kinds"])
    assert found.columns == ("answer", "extra")
    assert [row.totals for row in found.rows] == [tuple(float(len(str(c))) for c in each) for each in given]


def is_right(completions: Any, answer: Any, **_: Any) -> list[float]:
    return [float(right in completion) for completion, right in zip(completions, answer, strict=True)]


async def brevity(completions: Any, **_: Any) -> list[float]:
    import asyncio

    await asyncio.sleep(0.001)
    return [-float(len(completion)) for completion in completions]


def first_word(completions: Any, **_: Any) -> list[bool]:
    words = [completion.split() for completion in completions]
    return [each[0].isdigit() for each in words]


def helper(completion: str) -> float:
    if not completion:
        raise ValueError("nothing\x1b[31m to read")
    return 1.0


def by_helper(completions: Any, **_: Any) -> list[float]:
    return [helper(completion) for completion in completions]


def one_for_all(completions: Any, **_: Any) -> float:
    result: Any = sum(len(completion) for completion in completions)
    return result


def too_few(completions: Any, **_: Any) -> list[float]:
    return [1.0 for _ in completions][:1]


def words(completions: Any, **_: Any) -> list[str]:
    return [{0: "bad"}.get(len(completion), "good") for completion in completions]


def lists(completions: Any, **_: Any) -> Any:
    return [[1.0] * (1 + len(completion) % 1) for completion in completions]


def undefined(completions: Any, **_: Any) -> list[float]:
    return [float("nan") if completion else 0.0 for completion in completions]


def endless_value(completions: Any, **_: Any) -> list[float]:
    return [-float("inf") if not completion else 1.0 for completion in completions]


NOTHING: dict[str, float] = {}


def logs_alone(completions: Any, log_metric: Any, **_: Any) -> list[Any]:
    log_metric("mean_length", 1.0)
    return [NOTHING.get(completion) for completion in completions]


def always_half(completions: Any, **_: Any) -> list[float]:
    return [0.5 for _ in completions]


def at_random(completions: Any, **_: Any) -> list[float]:
    import random

    return [random.random() for _ in completions]


def as_tensor(completions: Any, **_: Any) -> Any:
    import torch

    return torch.tensor([float(len(completion)) for completion in completions])


def as_array(completions: Any, **_: Any) -> Any:
    import numpy as np

    return np.array([float(len(completion)) for completion in completions])


def lacks_package(completions: Any, **_: Any) -> list[float]:
    from importlib import import_module

    judge: Any = import_module("not_installed_anywhere")
    return [judge.score(completion) for completion in completions]


def not_awaited(completions: Any, **_: Any) -> Any:
    return brevity(completions)


def once(completions: Any, **_: Any) -> list[float]:
    state: Any = once
    if getattr(state, "called", False):
        raise RuntimeError("only once")
    state.called = True
    return [float(len(completion)) for completion in completions]


def leaves(completions: Any, **_: Any) -> list[float]:
    import sys as sys_

    if completions:
        sys_.exit(4)
    return []


def changes_columns(completions: Any, level: Any, **_: Any) -> list[float]:
    level[0] = "changed"
    return [float(len(completion)) for completion in completions]


GOOD = [is_right, brevity, as_tensor, as_array, at_random, logs_alone, changes_columns]
BAD = [first_word, by_helper, one_for_all, too_few, words, lists, undefined, endless_value, always_half]
WORSE = [lacks_package, not_awaited, once, leaves]


def test_each_kind_of_failure_is_told_and_good_functions_are_not(tried: Try, tmp_path: Path) -> None:
    functions = [*GOOD, *BAD, *WORSE]
    found = tried(
        "rloo",
        dataset=sums(tmp_path / "rows.jsonl"),
        **NO_EVAL,
        reward_funcs=functions,
        reward_weights=[2.0, *[1.0] * (len(functions) - 1)],
    )
    assert found.completions == ("reference", "boxed", "tags", "empty", "prompt", "long")
    assert found.columns == ("answer", "level")
    by_name = {reward.name: reward for reward in found.rewards}
    assert list(by_name) == [function.__name__ for function in functions]
    right = by_name["is_right"]
    assert right.values[1] == (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    assert right.without_variance == 0.0
    assert by_name["brevity"].values[0][:4] == (-1.0, -68.0, -64.0, 0.0)
    assert by_name["as_tensor"].values == by_name["as_array"].values
    assert by_name["logs_alone"].values == ((None,) * 6,) * 4
    assert (right.is_same, by_name["at_random"].is_same) == (True, False)
    assert all(reward.seconds is not None for reward in found.rewards)
    told = {name: [each for each in found.problems if each.why.split(" ")[0] == name] for name in by_name}
    assert not any(told[function.__name__] for function in GOOD)
    codes = {name: [(each.code, each.severity) for each in several] for name, several in told.items() if several}
    assert codes == {
        "first_word": [("REWARD001", "error")],
        "by_helper": [("REWARD001", "error")],
        "one_for_all": [("REWARD002", "error")],
        "too_few": [("REWARD002", "error")],
        "words": [("REWARD002", "error")],
        "lists": [("REWARD002", "error")],
        "undefined": [("REWARD003", "warning")],
        "endless_value": [("REWARD003", "error")],
        "always_half": [("REWARD005", "warning")],
        "lacks_package": [("REWARD001", "error")],
        "not_awaited": [("REWARD002", "error")],
        "once": [("REWARD001", "error")],
        "leaves": [("REWARD001", "error")],
    }
    whys = {name: several[0].why for name, several in told.items() if several}
    assert whys["first_word"] == (
        "first_word raises IndexError: list index out of range, at line 3 of first_word, `return [each[0].isdigit() "
        "for each in words]`, for the completion empty (4 of 4 rows), the first being of row 1"
    )
    assert 'at line 3 of helper, `raise ValueError("nothing\\x1b[31m to read")`' in whys["by_helper"]
    assert "returns one value for all completions, " in whys["one_for_all"]
    assert "too_few returns 1 value for 24 completions: " in whys["too_few"]
    assert "words returns texts, such as 'good': " in whys["words"]
    assert "lists returns values that are no numbers, such as [1.0]: " in whys["lists"]
    assert whys["undefined"].startswith("undefined gives NaN for 20 completions of 24, ")
    assert whys["endless_value"].startswith("endless_value gives -inf for 4 completions of 24")
    assert whys["always_half"].startswith("always_half gives 0.5 for every completion that was tried: ")
    assert whys["lacks_package"].startswith("lacks_package needs the package not_installed_anywhere, ")
    assert told["lacks_package"][0].fix == 'extra_dependencies=["not_installed_anywhere"]'
    assert "not_awaited returns a coroutine, which this trainer does not await" in whys["not_awaited"]
    assert whys["once"].endswith('of once, `raise RuntimeError("only once")`, when it is called a second time')
    assert "leaves raises SystemExit: 4, at line 5 of leaves, " in whys["leaves"]
    # a function that fails on some completions has values for the others
    assert by_name["first_word"].values[0][0] == 1.0
    assert by_name["first_word"].values[0][3] is None
    assert found.notes == (
        "at_random gives something else when it is called again with the same completions",
        "changes_columns changes level, which functions after it get as it leaves it",
    )
    assert not found.ok
    with pytest.raises(hft.SpecError, match="too_few"):
        found.raise_for_problems()
    printed, html = str(found), found._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "is_right" in printed
    assert "\x1b" not in printed
    assert "\x1b" not in html


def test_one_value_that_a_trainer_would_spread_and_rewards_that_are_all_none(tried: Try, tmp_path: Path) -> None:
    common = {"dataset": sums(tmp_path / "rows.jsonl"), **NO_EVAL}
    found = tried("online_dpo", rows=2, reward_funcs=[is_right, too_few], **common)
    assert [each.why for each in found.problems] == [
        "too_few returns 1 value for 12 completions: return a list with a number for each completion"
    ]
    found = tried("rloo", rows=2, reward_funcs=[nothing_yet], **common)
    assert [(each.code, each.severity) for each in found.problems] == [("REWARD005", "error")]
    assert "gives None for every completion" in found.problems[0].why


def nothing_yet(completions: Any, **_: Any) -> list[Any]:
    return [NOTHING.get(completion) for completion in completions]


def by_length(completions: Any, **_: Any) -> list[float]:
    return [float(len(completion[0]["content"])) for completion in completions]


def test_given_completions_builtin_rewards_and_reward_models(tried: Try, inputs: Inputs) -> None:
    rewards = [by_length, "think_format_reward", "get_soft_overlong_punishment", str(inputs.reward_model)]
    thought = "<think>so</think> red"
    given = [[thought, "red"], [[{"role": "assistant", "content": "blue"}], "green", thought], ["a", "b"]]
    found = tried("grpo", given, reward_funcs=rewards, num_generations=4, per_device_train_batch_size=4)
    assert found.ok
    assert len(found.rows) == 3
    assert found.completions == ("completion 1", "completion 2", "completion 3")
    length, format_, overlong = found.rewards
    assert length.values == ((21.0, 3.0), (4.0, 5.0, 21.0), (1.0, 1.0))
    assert format_.values == ((1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0))
    assert overlong.name == "soft_overlong_punishment_reward"
    assert length.without_variance == pytest.approx(1 / 3)
    assert found.without_variance == pytest.approx(1 / 3)
    assert found.rows[0].totals == (22.0, 3.0)
    assert found.not_called == (str(inputs.reward_model),)
    assert "reward models are not called" in found.notes[0]
    assert [each.code for each in found.problems] == ["REWARD005"]
    assert "every completion that was given" in found.problems[0].why


def test_groups_that_all_get_the_same(tried: Try, tmp_path: Path) -> None:
    common: dict[str, Any] = {"dataset": sums(tmp_path / "rows.jsonl"), **NO_EVAL}
    found = tried("rloo", [["a", "b"], ["cc", "dd"]], reward_funcs=one_point_per_character, **common)
    assert found.without_variance == 1.0
    assert [(each.code, each.severity) for each in found.problems] == [("REWARD006", "warning")]
    common["dataset"] = hft.Dataset(id=common["dataset"], streaming=True)
    found = tried("rloo", ["a", "bb", "c", "d", "e", "f"], reward_funcs=one_point_per_character, **common)
    assert (found.without_variance, found.problems) == (None, ())
    assert found.notes == ("there are 4 rows: the completions beyond them were not tried",)


def widths(completions: Any, images: Any, prompts: Any, **_: Any) -> list[float]:
    parts = [[part["type"] for part in prompt[-1]["content"]] for prompt in prompts]
    assert parts == [["image", "text"]] * len(completions), parts[0]
    return [float(pictures[0].size[0] + len(c[0]["content"])) for c, pictures in zip(completions, images, strict=True)]


def test_images_reach_the_functions(tried: Try, tmp_path: Path) -> None:
    model = tiny.make_vlm(tmp_path / "vlm")
    data = tiny.write_image_dataset(tmp_path / "data", "prompt_only_chat", 4)
    found = tried("grpo", ["a", "bb"], model=str(model), dataset=str(data), reward_funcs=widths, **NO_EVAL)
    assert found.problems == ()
    assert found.rewards[0].values == ((tiny.IMAGE_SIZE + 1.0,), (tiny.IMAGE_SIZE + 2.0,))
    assert found.columns == ("images", "solution")


def circles(completions: Any, **_: Any) -> list[float]:
    import time as time_

    while completions:
        time_.sleep(0.01)
    return []


def leaves_at_once(completions: Any, **_: Any) -> list[float]:
    import os as os_

    if completions:
        os_._exit(3)
    return []


def test_a_function_that_does_not_end_or_ends_the_process(tried: Try, tmp_path: Path) -> None:
    common = {"dataset": sums(tmp_path / "rows.jsonl"), **NO_EVAL}
    functions = [is_right, circles, by_helper]
    found = tried("rloo", ["1"], status=1, seconds=4.0, reward_funcs=functions, **common)
    (problem,) = [each for each in found.problems if each.code == "REWARD004"]
    assert problem.why.startswith("circles did not end: its time was over, at line ")
    assert problem.why.endswith((" of circles, `time_.sleep(0.01)`", " of circles, `while completions:`"))
    assert found.rewards[0].values == ((1.0,),)
    assert found.notes == ("by_helper was not called, since one before it ended the trial",)
    found = tried("rloo", ["1"], status=3, reward_funcs=leaves_at_once, **common)
    assert [(each.code, each.path) for each in found.problems] == [("REWARD004", "reward_funcs")]
    assert found.problems[0].why.startswith("leaves_at_once ended the process, with status 3: ")


def tells_secrets(completions: Any, **_: Any) -> list[float]:
    import os as os_
    from pathlib import Path as Path_

    Path_("mine.txt").write_text("here")
    secret = os_.environ["JUDGE_KEY"]
    if not all(completions):
        raise RuntimeError("x" * 490 + secret)
    return [float(len(secret)) + len(completion) for completion in completions]


def floods(completions: Any, **_: Any) -> list[float]:
    while completions:
        print("x" * 9999)
    return []


def test_secrets_are_passed_and_masked_and_the_process_has_limits(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hfjobs_trainer.trying.rewards import try_plan_rewards

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUDGE_KEY", "correct-horse-battery")
    monkeypatch.setenv("OTHER_KEY", "not-passed")
    spec = hft.RLOO(
        model=str(inputs.model),
        dataset=sums(tmp_path / "rows.jsonl"),
        reward_funcs=[tells_secrets, functools.partial(keyed, key="OTHER_KEY"), floods],
        num_generations=2,
        per_device_train_batch_size=2,
        max_steps=1,
        secrets=["JUDGE_KEY"],
    )
    plan = hft.plan(spec, offline=True)
    found = try_plan_rewards(plan, rows=1, offline=True, limits=Limits(seconds=200, output=1 << 20))
    secrets, other, flood = found.rewards
    assert secrets.values[0][0] == len("correct-horse-battery") + 1
    assert {failure.completion for failure in secrets.failures} == {"empty"}
    html = found._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "correct-" not in repr(secrets.failures) + str(found) + html
    assert {failure.error for failure in other.failures} == {"KeyError"}
    assert flood.seconds is None
    assert found.problems[0].why == "floods did not end: it wrote more than 1 MiB of output"
    assert not (tmp_path / "mine.txt").exists()


def keyed(completions: Any, key: str = "", **_: Any) -> list[float]:
    import os as os_

    return [float(len(os_.environ[key])) for _ in completions]
