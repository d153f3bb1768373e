"""Pushes of one trained model, for the tests to read about: to a Hub that fails as it is told, then works."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class MoodyHub(BaseHTTPRequestHandler):
    """Takes repositories and commits, after the failures that ``moods`` holds for them."""

    moods: list[tuple[str, int]] = []  # noqa: RUF012
    requests: list[str] = []  # noqa: RUF012
    committed: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        action = next(word for word in ("create", "validate", "preupload", "commit") if word in self.path)
        MoodyHub.requests.append(action)
        if MoodyHub.moods and MoodyHub.moods[0][0] == action:
            self.answer(MoodyHub.moods.pop(0)[1], {"error": "not now"})
        elif action == "create":
            self.answer(200, {"url": f"{os.environ['HF_ENDPOINT']}/me/model", "id": "me/model", "name": "me/model"})
        elif action == "validate":  # the model card's metadata
            self.answer(200, {"errors": [], "warnings": []})
        elif action == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        else:
            lines = [json.loads(line) for line in body.splitlines()]
            MoodyHub.committed = [line["value"]["path"] for line in lines if line["key"] == "file"]
            self.answer(
                200,
                {"success": True, "commitOid": "0" * 40, "commitUrl": f"{os.environ['HF_ENDPOINT']}/me/model/commit/0"},
            )

    def do_GET(self) -> None:
        self.answer(404, {"error": "not found"})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    model, folder = sys.argv[1:]
    hub = ThreadingHTTPServer(("127.0.0.1", 0), MoodyHub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{hub.server_port}"
    os.environ["HF_TOKEN"] = "hf_notatoken"

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    import hfjobs_trainer as hft
    from examples import tiny
    from hfjobs_trainer.rendering.runtime import card
    from hfjobs_trainer.rendering.runtime import push as block

    args = SFTConfig(
        folder,
        max_steps=1,
        save_steps=1,
        bf16=False,
        use_cpu=True,
        push_to_hub=True,
        hub_strategy="end",
        hub_model_id="me/model",
    )
    trainer = SFTTrainer(model, args, train_dataset=Dataset.from_list(tiny.dataset_rows("messages", 8)))
    trainer.train()
    block.PUSH_PAUSES = (0.0, 0.0, 0.0)
    card.__file__ = str(Path(folder).with_name("private.py"))
    spec = {"method": "sft", "model": "me/base", "dataset": "me/colours"}
    plan = hft.plan({**spec, "output": {"hub_model_id": "me/model"}}, offline=True)
    Path(card.__file__).write_text(plan.script, "utf-8")

    merged = Path(folder, "merged")
    trainer.save_model(str(merged))

    def push(case: str, *moods: tuple[str, int], beside: bool = False) -> None:
        MoodyHub.moods, MoodyHub.requests, MoodyHub.committed = list(moods), [], []
        raised = None
        try:
            if beside:
                block.upload(trainer, merged, suffix="-merged")
            else:
                block.push(trainer)
        except Exception as error:
            raised = type(error).__name__
        told = {"case": case, "raised": raised, "requests": MoodyHub.requests, "committed": MoodyHub.committed}
        print(json.dumps(told), flush=True)

    push("recovers", ("create", 500), ("create", 503), ("commit", 409))
    push("refused", ("commit", 403))
    push("exhausted", *[("commit", 409)] * 4)
    push("merged", ("create", 503), beside=True)

    public = {**spec, "env": {"A": "mine"}, "output": {"hub_model_id": "me/model", "private": False}}
    card.__file__ = str(Path(folder).with_name("public.py"))
    Path(card.__file__).write_text(hft.plan(public, offline=True).script, "utf-8")
    os.environ["JOB_ID"] = "6a00000000000000000000a1"
    card.write_card(trainer, Path(folder), "me/model")


if __name__ == "__main__":
    main()
