"""Tracked trainings, one after the other, for the tests to read about: on a Hub that is never well."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class BrokenHub(BaseHTTPRequestHandler):
    """Answers every request with an error, or with nothing at all."""

    mute = False
    released = threading.Event()

    def do_GET(self) -> None:
        if BrokenHub.mute:
            BrokenHub.released.wait()
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    model, folder = sys.argv[1:]
    hub = ThreadingHTTPServer(("127.0.0.1", 0), BrokenHub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{hub.server_port}"

    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

    from examples import tiny
    from hfjobs_trainer.rendering.runtime import track_trackio as tracking

    common: dict[str, Any] = {
        "output_dir": folder,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "bf16": False,
        "use_cpu": True,
        "report_to": "trackio",
        "trackio_static_space_id": False,
    }

    def train(run_id: str, project: str, name: str | None = "one", space_id: str | None = None) -> None:
        os.environ["HFT_RUN_ID"] = run_id
        tracking.track(project, {"shade": "dark"}, name=name, group="palette", space_id=space_id, private=True)
        data = Dataset.from_list(tiny.dataset_rows("messages", 8))
        trainer = SFTTrainer(model, SFTConfig(**common), train_dataset=data, eval_dataset=data)
        trainer.train()
        trainer.evaluate()
        tracking.end_tracking()
        print(json.dumps({"trained": project, "steps": trainer.state.global_step}), flush=True)

    os.environ["HF_TOKEN"] = "hf_notatoken"
    train("first", "local")
    train("first", "local")
    train("second", "local")
    train("third", "unnamed", name=None)
    train("fourth", "failing", space_id="me/trackio")
    del os.environ["HF_TOKEN"]
    train("fifth", "tokenless", space_id="me/trackio")
    os.environ["HF_TOKEN"] = "hf_notatoken"
    BrokenHub.mute, tracking.TRACKIO_SECONDS = True, 1.0
    train("sixth", "hanging", space_id="me/trackio")

    # GRPO logs to the current run itself, so there must always be one.
    os.environ["HFT_RUN_ID"] = "seventh"
    tracking.track("grpo", {}, name="one", group="palette", space_id="me/trackio", private=True)
    prompts = Dataset.from_list(tiny.dataset_rows("prompt_only", 8))
    args = GRPOConfig(
        **common, per_device_train_batch_size=4, num_generations=2, max_completion_length=4, log_completions=True
    )
    trainer = GRPOTrainer(
        model, lambda completions, **_: [float(len(text)) for text in completions], args, prompts, prompts
    )
    trainer.train()
    trainer.evaluate()
    print(json.dumps({"trained": "grpo", "steps": trainer.state.global_step}), flush=True)
    tracking.end_tracking()

    BrokenHub.mute = False
    BrokenHub.released.set()
    hub.shutdown()
    hub.server_close()
    train("eighth", "down", space_id="me/trackio")


if __name__ == "__main__":
    main()
