from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B)
BAD = {"hardware": "l4x4", "dataset_num_proc": 200, "dataloader_num_workers": 40}
GOOD = {"hardware": "l4x4", "dataset_num_proc": 48, "dataloader_num_workers": 12}
EXPECTED = [
    ("dataset_num_proc", "starts 200 processes, l4x4 has 48 processors", "dataset_num_proc=48"),
    (
        "dataloader_num_workers",
        "starts 160 processes for 4 GPUs, l4x4 has 48 processors",
        "dataloader_num_workers=12",
    ),
]
