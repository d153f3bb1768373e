"""Repositories on a simulated Hub, and facts about a spec that names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hubsim import Hub
from safetensors.numpy import save_file

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.gathering import gather
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.methods.sft import SFT

TOKEN = "hf_alice_write"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
    "torch_dtype": "float32",
}
CARD = """---
dataset_info:
  features:
  - name: prompt
    dtype: string
  - name: messages
    list:
    - name: role
      dtype: string
  splits:
  - name: train
    num_bytes: 10
    num_examples: 1000
  - name: test
    num_bytes: 10
    num_examples: 50
---
"""


def make_repo(hub: Hub, kind: str, name: str, files: dict[str, str], settings: dict[str, Any] | None = None) -> Path:
    folder = Path(hub.root) / kind / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    if settings:
        (folder / ".hubsim.json").write_text(json.dumps(settings))
    return folder


def make_model(hub: Hub, name: str, settings: dict[str, Any] | None = None, **files: str) -> Path:
    import numpy as np

    named = {key.replace("__", "."): text for key, text in files.items()}
    folder = make_repo(hub, "models", name, {"config.json": json.dumps(CONFIG), **named}, settings)
    tensors = {"a": np.zeros((8, 4), dtype=np.float16), "b": np.zeros(3, dtype=np.float32)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def spec(model: str = "acme/llama", dataset: Any = "acme/chat", **fields: Any) -> SFT:
    return SFT(model=model, dataset=dataset, **fields)


def gathered(hub: Hub, wanted: TrainSpec, token: str | None = TOKEN, **options: Any) -> Facts:
    return gather(wanted, token=token, endpoint=hub.endpoint, **options)
