"""Pushes of one model that was saved, for the tests to read about: each to a Hub that goes wrong in one way.

Nothing is trained. Each case is a line of JSON; the events that its push reported come before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
from hubsim.repos import Repo

COMMIT = "/commit/"


def files_of(folder: Path) -> dict[str, str]:
    """The files in a folder, each with its digest."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    model, place = sys.argv[1], Path(sys.argv[2])
    hub, server = hubsim.start(place / "hub", python=sys.executable)
    os.environ |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_alice_write", "HF_HOME": str(place / "home")}
    os.environ |= {"HFT_RUN_ID": "run-1", "HFT_FLUSH_SECONDS": "0", "HFT_BUCKET": "alice/hft-checkpoints"}
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where hf is

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    import hfjobs_trainer as hft
    from examples import tiny
    from hfjobs_trainer.rendering.runtime import card
    from hfjobs_trainer.rendering.runtime import push as block
    from hfjobs_trainer.rendering.runtime.conclude import conclude

    args = SFTConfig(
        str(place / "out"), bf16=False, use_cpu=True, push_to_hub=True, hub_strategy="end", hub_model_id="alice/model"
    )
    args.hub_private_repo = True
    trainer: Any = SFTTrainer(model, args, train_dataset=Dataset.from_list(tiny.dataset_rows("messages", 8)))
    trainer.save_model(str(place / "out/merged"), _internal_call=True)
    (place / "out/checkpoint-1").mkdir()
    (place / "out/checkpoint-1/optimizer.pt").write_bytes(b"state")
    spec = {"method": "sft", "model": "me/base", "dataset": "me/colours", "output": {"hub_model_id": "alice/model"}}
    card.__file__ = str(place / "script.py")  # which the card tells of
    Path(card.__file__).write_text(hft.plan(spec, offline=True).script, "utf-8")
    block.PUSH_PAUSES, block.PUSH_SECONDS = (0.0, 0.0, 0.0), 1.0

    def push(
        case: str,
        *faults: dict[str, Any],
        branch: str | None = None,
        beside: bool = False,
        bucket: bool = True,
        runs_command: bool = False,
    ) -> None:
        hub.journal.clear()
        hub.faults.clear()
        for fault in faults:
            hub.fail(**fault)
        mount = hub.root / "buckets/alice/hft-checkpoints"
        os.environ["HFT_CHECKPOINTS"] = str(mount if bucket else place / "nowhere")
        if bucket:
            mount.mkdir(parents=True)
        trainer.lost, args.hub_revision = [], branch
        trainer.save_model(_internal_call=True)
        block.push(trainer)
        if beside:
            block.push(trainer, place / "out/merged", suffix="-merged")
        ended = "\n".join(trainer.lost)
        told = {
            "case": case,
            "ended": ended,
            "tries": len(hub.requests("/repos/create", "POST")),
            "kept": files_of(mount),
            "saved": files_of(place / "out"),
        }
        if runs_command:
            command = ended.partition("To push it: ")[2]
            folder = place / case
            folder.mkdir()
            done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
            told["command"] = [command, done.returncode, done.stderr]
        print(json.dumps({**told, "there": files_of(hub.root / "models/alice/model")}), flush=True)
        for folder in (hub.root / "models/alice", hub.root / "buckets", hub.state_dir / "repos"):
            shutil.rmtree(folder, ignore_errors=True)

    def refuse(status: int, path: str = COMMIT, times: int = 1) -> dict[str, Any]:
        return {"path": path, "method": "POST", "times": times, "response": {"status": status}}

    def vanish(status: int, body: Any) -> Any:
        """Answer, and lose the repository."""
        shutil.rmtree(hub.root / "models/alice/model")
        return status, body

    def lose(name: str) -> Callable[[int, Any], Any]:
        """Commit all but one file."""

        def rewrite(status: int, body: Any) -> Any:
            (hub.root / "models/alice/model" / name).unlink()
            return status, {**body, "commitOid": Repo(hub, "models", "alice/model").head()}

        return rewrite

    def damage(name: str) -> Callable[[int, Any], Any]:
        """Commit other bytes in one file."""

        def rewrite(status: int, body: Any) -> Any:
            path = hub.root / "models/alice/model" / name
            hub.write_live(path, path.read_bytes()[:-1] + b"!")
            return status, {**body, "commitOid": Repo(hub, "models", "alice/model").head()}

        return rewrite

    push("well")
    push("to a branch", branch="partial")
    push("500, then ok", refuse(500, "/create"), refuse(409))
    push("503 for ever", refuse(503, "/create", times=9))
    push("401", refuse(401))
    push("403", refuse(403), runs_command=True)
    push("403, no bucket", refuse(403), bucket=False, runs_command=True)
    push("404 once", refuse(404))
    push("404 again", refuse(404, times=9))
    push("vanishes once", {"path": "/preupload/", "rewrite": vanish})
    push("lacks a file once", {"path": COMMIT, "rewrite": lose("tokenizer.json")})
    push("lacks a file", {"path": COMMIT, "rewrite": lose("tokenizer.json"), "times": 9})
    push("other bytes once", {"path": COMMIT, "rewrite": damage("model.safetensors")})
    push("other bytes", {"path": COMMIT, "rewrite": damage("config.json"), "times": 9})
    push("both", beside=True)
    push("both, 403 for the merged", refuse(403, "model-merged/commit/"), beside=True)
    push("both, 403", refuse(403, times=9), beside=True)
    push("hangs once", {"path": COMMIT, "hang": "before"})
    push("hangs", {"path": COMMIT, "hang": "before", "times": 9})
    hubsim.stop(hub, server)
    trainer.lost = []
    reload(trainer, place)
    trainer.lost = ["The model was not pushed: so it ends."]
    conclude(trainer, 0.0)


def reload(trainer: Any, place: Path) -> None:
    """Load a saved model, and a saved adapter, each as it was saved and after something was done to it."""
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    from hfjobs_trainer.rendering.runtime import reload_adapter, reload_model

    folder = Path(trainer.args.output_dir)
    spoiled = place / "spoiled"

    def tell(case: str) -> None:
        print(json.dumps({"case": case, "ended": "\n".join(trainer.lost)}), flush=True)
        trainer.lost = []

    def change(name: str, change: Callable[[Any], Any]) -> None:
        path = spoiled / name
        if path.suffix == ".safetensors":
            save_file(change(load_file(path)), path, {"format": "pt"})
        else:
            path.write_text(change(path.read_text("utf-8")), "utf-8")

    def load(case: str, name: str = "config.json", spoil: Callable[[Any], Any] = lambda content: content) -> None:
        shutil.rmtree(spoiled, ignore_errors=True)
        shutil.copytree(folder, spoiled)
        change(name, spoil)
        reload_model.reload(trainer, spoiled)
        tell(case)

    weights = "model.safetensors"
    load("as saved")
    load("another template", "chat_template.jinja", lambda text: text + "!")
    load("another end", "generation_config.json", lambda text: text.replace('"eos_token_id": 2', '"eos_token_id": 3'))
    load("lacks weights", weights, lambda saved: dict(list(saved.items())[1:]))
    load("other weights", weights, lambda saved: {name: value.roll(1) for name, value in saved.items()})
    load("not a number", weights, lambda saved: {name: value / 0 for name, value in saved.items()})
    load("no config", spoil=lambda _: "")
    (folder / weights).rename(place / weights)
    reload_model.reload(trainer)
    tell("no weights")
    (place / weights).rename(folder / weights)
    trainer.is_fsdp_enabled = True
    load("spread")
    trainer.is_fsdp_enabled = False

    trainer.model = get_peft_model(trainer.model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    trainer.model.save_pretrained(folder)
    reload_adapter.reload(trainer)
    tell("adapter as saved")
    trainer.model.delete_adapter("saved")
    saved = load_file(folder / "adapter_model.safetensors")
    save_file(dict(list(saved.items())[1:]), folder / "adapter_model.safetensors")
    reload_adapter.reload(trainer)
    tell("adapter lacks weights")
    trainer.model.delete_adapter("saved")
    (folder / "adapter_model.safetensors").write_bytes(b"cut short")
    reload_adapter.reload(trainer)
    tell("adapter cannot be read")


if __name__ == "__main__":
    main()
