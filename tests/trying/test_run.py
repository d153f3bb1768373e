"""A script is tried within its limits, with nothing of this machine's secrets, and leaves nothing behind."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, ModelFacts
from hfjobs_trainer.trying import interpreter
from hfjobs_trainer.trying.process import GIB, HEAD, TAIL, Limits, run
from hfjobs_trainer.trying.run import mode_files, needs_token, try_plan

SPEC: dict[str, Any] = {"method": "sft", "model": "org/model", "dataset": "org/data", "max_steps": 1}


def planned(code: str, **fields: Any) -> Any:
    """A plan whose script is this code, with nothing to install."""
    plan = hft.plan(SPEC | fields, facts=hft.Facts())
    header = "# /// script\n# dependencies = []\n# ///\n"
    return replace(plan, request=replace(plan.request, script=header + dedent(code)))


def watched(code: str, tmp_path: Path, **limits: Any) -> Any:
    command = [sys.executable, "-c", dedent(code)]
    mark = f"{tmp_path}-mark"
    return run(
        command, folder=tmp_path, env={"MARK": mark, "PATH": os.environ["PATH"]}, mark=mark, limits=Limits(**limits)
    )


def test_what_a_script_writes_is_kept_with_its_end(tmp_path: Path) -> None:
    ended = watched(
        """
        import sys
        print("first"); print('{"event": "hft.start", "time": 1.0}')
        for _ in range(20000):
            print("x" * 99)
        print('{"event": "hft.end", "time": 2.0}', flush=True)
        sys.exit("no good")
        """,
        tmp_path,
    )
    assert ended.exit_code == 1
    assert ended.stopped == ""
    assert ended.log.startswith("first\n")
    assert ended.log.endswith("no good\n")
    assert " bytes are left out]" in ended.log
    assert len(ended.log) < HEAD + TAIL + (1 << 17)
    assert [line[:22] for line in ended.lines] == ['{"event": "hft.start",', '{"event": "hft.end", "']


@pytest.mark.parametrize(
    ("code", "limits", "told"),
    [
        ("import time; time.sleep(600)", {"seconds": 0.7}, "it ran longer than 0.7 s"),
        ("while True: print('x' * 9999)", {"output": 1 << 20}, "it wrote more than 1 MiB of output"),
        ("x = b'x' * (400 << 20); import time; time.sleep(600)", {"memory": GIB // 4}, "more than 0.25 GiB of memory"),
        (
            "import os, time\nif os.fork() == 0:\n    x = b'x' * (400 << 20)\ntime.sleep(600)",
            {"memory": GIB // 4},
            "more than 0.25 GiB of memory",
        ),
    ],
    ids=["time", "output", "memory", "memory of a child"],
)
def test_a_script_that_takes_too_much_is_ended(code: str, limits: dict[str, Any], told: str, tmp_path: Path) -> None:
    ended = watched(code, tmp_path, **limits)
    assert told in ended.stopped
    assert ended.exit_code == -9


def test_a_script_that_closes_its_output_is_still_watched(tmp_path: Path) -> None:
    code = "import os, sys, time\nprint('bye', flush=True)\nos.close(1)\nos.close(2)\ntime.sleep(600)"
    ended = watched(code, tmp_path, seconds=1.0)
    assert ended.stopped == "it ran longer than 1 s"
    assert ended.log == "bye\n"


def test_nothing_that_a_script_starts_outlives_it(tmp_path: Path) -> None:
    code = f"""
    import os, time
    for session in (False, True):  # in the group, and out of it with a parent that ends
        if os.fork() == 0:
            if session:
                os.setsid()
                if os.fork():
                    os._exit(0)
            open(os.path.join({str(tmp_path)!r}, f"pid-{{session}}"), "w").write(str(os.getpid()))
            time.sleep(600)
    while len(os.listdir({str(tmp_path)!r})) < 2 or not all(
        os.path.getsize(os.path.join({str(tmp_path)!r}, name)) for name in os.listdir({str(tmp_path)!r})
    ):
        time.sleep(0.01)
    """
    ended = watched(code, tmp_path)
    assert ended.exit_code == 0
    for path in tmp_path.glob("pid-*"):
        deadline = time.monotonic() + 30
        while is_running(int(path.read_text())) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_running(int(path.read_text()))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


LOOK = """
import json, os, sys
from pathlib import Path

scratch = Path(os.environ["HFT_MODE_SCRATCH"])
modes = Path(os.environ["HFT_MODE_FILE"]).parent
written = [p.read_text("utf-8", "replace") for p in scratch.parents[0].rglob("*") if p.is_file()]
print(os.environ.get("HF_TOKEN", "no token"), os.environ.get("JUDGE", "no judge"))
(scratch / "result.json").write_text(json.dumps({
    "env": dict(os.environ), "folder": os.getcwd(), "root": str(scratch.parent), "files": sorted(os.listdir(modes)),
    "settings": json.loads((modes / "preview.json").read_text()),
    "script": Path(sys.argv[0]).read_text("utf-8"),
    "leaks": sum("hf_" + "secret" in text for text in written),
}))
"""


def test_a_script_sees_no_token_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "JUDGE", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "hf_secret_value")
    plan = planned(LOOK, secrets=["JUDGE"], env={"LEVEL": "3"})
    for facts in (None, hft.Facts(), hft.Facts(model=ModelFacts(private=False, gated=False))):
        tried = try_plan(plan, "preview", {"a": 1}, facts=facts)
        assert tried.exit_code == 0, tried.log
        assert tried.result is not None
        assert tried.result["leaks"] == 0
        env = tried.result["env"]
        assert "hf_secret_value" not in str(env)
        assert env["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
        assert not Path(env["HF_TOKEN_PATH"]).exists()
        assert env["CUDA_VISIBLE_DEVICES"] == ""
        assert env["LEVEL"] == "3"
        assert tried.result["settings"] == {"a": 1}
        assert {"preview.py", "preview.json", "twin.py"} <= set(tried.result["files"])
        assert not Path(tried.result["root"]).exists()
        assert tried.python == sys.executable
        assert "hf_secret" not in repr(tried)


@pytest.mark.parametrize("mode", ["preview", "smoke"])
def test_the_script_is_the_same_in_every_mode(mode: str) -> None:
    plan = planned(LOOK.replace("preview.json", f"{mode}.json"))
    tried = try_plan(plan, mode, {"a": 1})
    assert tried.result is not None, tried.log
    assert tried.result["script"] == plan.script
    assert tried.result["env"]["HFT_MODE_FILE"].endswith(f"/{mode}.py")


def test_a_private_input_gets_the_token_and_own_code_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE", "hf_secret_judge")
    plan = planned(LOOK, secrets=["JUDGE"])
    facts = hft.Facts(dataset=DatasetFacts(mixed_with=(DatasetFacts(gated=True),)))
    tried = try_plan(plan, "preview", {}, facts=facts, token="hf_secret_token", passes_secrets=True)
    assert tried.result is not None
    assert tried.result["env"]["HF_TOKEN"] == "hf_secret_token"
    assert tried.result["env"]["JUDGE"] == "hf_secret_judge"
    # in the environment alone: in no file, and not in what was written
    assert tried.result["leaks"] == 0
    assert tried.log.startswith("*** ***")
    monkeypatch.setenv("JUDGE", 'a "judge"')
    event = "import json, os\nprint(json.dumps({'event': 'hft.smoke', 'error': 'no ' + os.environ['JUDGE']}))"
    tried = try_plan(planned(event, secrets=["JUDGE"]), "preview", {}, passes_secrets=True)
    assert tried.events == ({"event": "hft.smoke", "error": "no ***"},)


def test_a_token_is_needed_for_what_is_private_or_gated() -> None:
    assert not needs_token(hft.Facts())
    assert needs_token(hft.Facts(model=ModelFacts(gated=True)))
    assert needs_token(hft.Facts(reward_models=(ModelFacts(), ModelFacts(private=True))))
    assert needs_token(hft.Facts(eval_dataset=DatasetFacts(private=True)))


def test_what_went_wrong_is_told_with_the_end_of_the_log() -> None:
    tried = try_plan(planned("print('\\x1b[2J')\nraise ValueError('no such column: <b>')"), "preview", {})
    assert tried.result is None
    told = tried.explain("the preview")
    assert told.startswith("the preview failed: ValueError: no such column: <b>\n")
    assert "\x1b" not in told
    assert "Traceback" in told
    several = try_plan(planned("raise OSError('no connection\\nto the Hub')"), "preview", {})
    assert several.explain("the preview").startswith("the preview failed: OSError: no connection to the Hub\n")
    stopped = try_plan(planned("import time; time.sleep(60)"), "preview", {}, limits=Limits(seconds=0.5))
    assert stopped.explain("the preview").startswith("the preview failed: it ran longer than 0.5 s")


def test_the_running_interpreter_is_taken_where_it_has_the_pins() -> None:
    script = hft.render(SPEC, facts=hft.Facts())
    assert interpreter.find_python(script) == sys.executable
    assert interpreter.lacking(["trl==1.16.0", "torch==2.13.0", "trl==0.1", "no-such-package", "x @ file:///y"]) == [
        "trl==0.1",
        "no-such-package",
        "x @ file:///y",
    ]
    assert interpreter.lacking(["trl[peft]==1.16.0", "trl[vllm]==1.16.0"]) == ["trl[vllm]==1.16.0"]
    assert interpreter.lacking(["no-such-package; python_version < '3'"]) == []
    # what the mode takes the place of need not be there
    vllm = hft.render(
        {**SPEC, "method": "grpo", "reward_funcs": "think_format_reward", "use_vllm": True}, facts=hft.Facts()
    )
    assert "vllm==" in vllm
    assert interpreter.find_python(vllm, ["vllm"]) == sys.executable


def test_without_uv_another_interpreter_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setitem(sys.modules, "uv", None)
    script = '# /// script\n# dependencies = [\n#     "no-such-package==1",\n# ]\n# ///\n'
    with pytest.raises(hft.HFTError, match=r"this interpreter lacks no-such-package==1, and uv is not installed"):
        interpreter.find_python(script)


def test_a_set_of_packages_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    script = '# /// script\n# dependencies = [\n#     "no-such-package-of-ours==1",\n# ]\n# ///\n'
    with pytest.raises(hft.HFTError, match=r"uv could not make an environment: (?s:.)*no-such-package-of-ours"):
        interpreter.find_python(script)


def test_the_files_of_all_modes_lie_together() -> None:
    names = mode_files().keys()
    assert {"preview.py", "twin.py", "cpu.py"} <= names
    assert "__init__.py" not in names
