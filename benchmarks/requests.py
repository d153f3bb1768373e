"""Requests to the Hub for each job of a loop of submissions: this package beside the bare client.

Run with ``python -m benchmarks.requests [jobs]``. Both submit the same scripts, which differ in the learning rate, to
the stand-in of ``tests/hubsim``. The bare client only uploads and submits; this package also looks at the account, the
prices, the model and the dataset.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import hfjobs_trainer as hft

JOBS = 20
TOKEN = "hf_alice_write"  # of the stand-in
MODEL, DATASET = "acme/tiny", "acme/chat"
ROOT = Path(__file__).parents[1]
START_SECONDS = 30.0

_CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
}
_TOKENIZER = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"hello": 0, "?": 1}, "unk_token": "?"}}
_CARD = """---
dataset_info:
  features:
  - name: messages
    list:
    - name: role
      dtype: string
  splits:
  - name: train
    num_bytes: 10
    num_examples: 1000
---
"""


def make_repos(root: Path) -> None:
    """Write the model and the dataset of the runs into the folder of a stand-in."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    files: dict[str, str | bytes] = {
        f"models/{MODEL}/config.json": json.dumps(_CONFIG),
        f"models/{MODEL}/tokenizer_config.json": json.dumps({"chat_template": "{{ messages }}"}),
        f"models/{MODEL}/tokenizer.json": json.dumps(_TOKENIZER),
        f"models/{MODEL}/model.safetensors": len(header).to_bytes(8, "little") + header + bytes(16),
        f"datasets/{DATASET}/README.md": _CARD,
    }
    rows = [{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "?"}]}] * 10
    files[f"datasets/{DATASET}/train.jsonl"] = "\n".join(map(json.dumps, rows))
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def specs(count: int) -> list[hft.SFT]:
    """Runs that differ in their learning rate."""
    spec = hft.SFT(
        model=MODEL,
        dataset=DATASET,
        hardware=hft.Hardware(flavor="t4-small"),
        timeout="1h",
        hub_model_id="alice/tiny-sft",
    )
    return [spec.replace(learning_rate=round(1e-5 * (1 + index), 8)) for index in range(count)]


def submit_bare(endpoint: str, scripts: Sequence[str], done: Callable[[], None]) -> None:
    """Submit each script as a user of the bare client would: ``run_uv_job`` with a file, a flavor and a timeout."""
    from huggingface_hub import HfApi

    api: Any = HfApi(endpoint=endpoint, token=TOKEN)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.py")
        for script in scripts:
            path.write_text(script, encoding="utf-8")
            with contextlib.redirect_stdout(io.StringIO()):  # it prints the bucket's address
                api.run_uv_job(str(path), flavor="t4-small", timeout="1h", secrets={"HF_TOKEN": TOKEN})
            done()


def submit_ours(endpoint: str, wanted: Iterable[hft.SFT], done: Callable[[], None]) -> None:
    """Submit each spec by one client."""
    client = hft.Client(token=TOKEN, endpoint=endpoint)
    for spec in wanted:
        client.submit(spec)
        done()


def per_job(totals: Sequence[int]) -> tuple[int, float]:
    """Requests of the first job, and of each later one on average, from the totals after each job."""
    return totals[0], (totals[-1] - totals[0]) / max(1, len(totals) - 1)


@contextlib.contextmanager
def stand_in() -> Generator[str]:
    """The address of a stand-in that has the repositories; its jobs are played, not run."""
    with tempfile.TemporaryDirectory() as folder:
        root, ready, config = Path(folder, "hub"), Path(folder, "ready"), Path(folder, "config.json")
        make_repos(root)
        config.write_text(json.dumps({"settings": {"exec": "off"}}))
        command = [sys.executable, "-m", "hubsim", "--root", str(root), "--ready-file", str(ready)]
        env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        with subprocess.Popen(
            [*command, "--isolate", "off", "--config", str(config)], env=env, stdout=subprocess.DEVNULL
        ) as process:
            try:
                deadline = time.monotonic() + START_SECONDS
                while not (ready.exists() and ready.read_text()):
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise SystemExit("the stand-in did not start")
                    time.sleep(0.05)
                yield ready.read_text()
            finally:
                process.terminate()


def count(endpoint: str) -> int:
    """Requests that the stand-in has had so far."""
    with urllib.request.urlopen(f"{endpoint}/_sim/journal", timeout=30) as answer:
        return len(json.load(answer))


def _measure(submit: Callable[[str, Any, Callable[[], None]], None], what: Sequence[Any]) -> list[int]:
    totals: list[int] = []
    with stand_in() as endpoint:
        submit(endpoint, what, lambda: totals.append(count(endpoint)))
    return totals


def main() -> None:
    """Print requests per job, of both, and their ratio."""
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1"}
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    wanted = specs(jobs)
    # the scripts are those of the specs: what differs is who submits them
    scripts = [hft.render(spec, facts=hft.Facts()) for spec in wanted]
    bare, ours = _measure(submit_bare, scripts), _measure(submit_ours, wanted)
    print(f"requests of {jobs} submissions, by job: the first, each later one, all of them")
    for name, totals in (("bare client", bare), ("hfjobs_trainer", ours)):
        first, later = per_job(totals)
        print(f"{name:<16}{first:6d}{later:8.2f}{totals[-1]:7d}")
    print(f"ratio {ours[-1] / bare[-1]:.2f}, after the first job {per_job(ours)[1] / per_job(bare)[1]:.2f}")


if __name__ == "__main__":
    main()
