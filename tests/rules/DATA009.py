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
    ("dataset.streaming", "a saved folder is loaded whole", 'dataset=hft.Dataset(id="./saved", split="train")'),
    (
        "dataset.split",
        'a saved folder gives whole splits by name, not "train[:10%]"; num_samples takes the first rows',
        'dataset=hft.Dataset(id="./saved", split="train")',
    ),
    (
        "eval_dataset.config",
        "only datasets on the Hub have one",
        (
            'eval_dataset=["test.jsonl", hft.Dataset(id="me/data", config="main"), hft.Dataset(id="./saved", '
            'data_dir="part")]'
        ),
    ),
    (
        "eval_dataset.revision",
        "only datasets on the Hub have one",
        (
            'eval_dataset=["test.jsonl", hft.Dataset(id="me/data", config="main"), hft.Dataset(id="./saved", '
            'data_dir="part")]'
        ),
    ),
    (
        "eval_dataset.data_files",
        "test.jsonl is a local path: id is the path of the file itself",
        (
            'eval_dataset=["test.jsonl", hft.Dataset(id="me/data", config="main"), hft.Dataset(id="./saved", '
            'data_dir="part")]'
        ),
    ),
    (
        "eval_dataset.mixed_with.1.data_dir",
        "./saved is a local path: id is the path of the file itself",
        (
            'eval_dataset=[hft.Dataset(id="test.jsonl", config="main", revision="v1", data_files="*.jsonl"), '
            'hft.Dataset(id="me/data", config="main"), "./saved/part"]'
        ),
    ),
]
