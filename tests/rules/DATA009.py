from __future__ import annotations

BAD = {
    "dataset": {"id": "./saved", "split": "train[:10%]", "streaming": True},
    "eval_dataset": [
        {"id": "test.jsonl", "config": "main", "revision": "v1", "data_files": "*.jsonl"},
        {"id": "me/data", "config": "main"},
        {"id": "./saved", "data_dir": "part"},
    ],
    "max_steps": 10,
}
GOOD = {
    "dataset": {"id": "./saved", "num_samples": 100},
    "eval_dataset": [{"id": "test.jsonl", "split": "train[:10%]"}, {"id": "me/data", "data_files": "*.jsonl"}],
}
EXPECTED = [
    ("dataset.streaming", "a saved folder is loaded whole", "remove streaming"),
    (
        "dataset.split",
        'a saved folder gives whole splits by name, not "train[:10%]"',
        'split="train", with num_samples=... for the first rows',
    ),
    ("eval_dataset.config", "only datasets on the Hub have one", "remove config"),
    ("eval_dataset.revision", "only datasets on the Hub have one", "remove revision"),
    ("eval_dataset.data_files", "test.jsonl is a local path", "set id to the path of the file"),
    ("eval_dataset.mixed_with.1.data_dir", "./saved is a local path", "set id to the path of the file"),
]
