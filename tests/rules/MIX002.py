from __future__ import annotations

BAD = {
    "dataset": [{"id": "a/b", "streaming": True}, "c/d"],
    "eval_dataset": [{"id": name, "streaming": True, "fraction": 0.5} for name in ("a/b", "c/d")],
    "max_steps": 10,
}
GOOD = {
    "dataset": [{"id": "a/b", "streaming": True}, {"id": "c/d", "streaming": True}],
    "eval_dataset": [{"id": "a/b", "fraction": 0.5}, {"id": "c/d", "fraction": 0.5}],
    "max_steps": 10,
}
EXPECTED = [
    ("dataset.streaming", "is set for a/b only; a stream cannot be appended to a table", 'dataset=["a/b", "c/d"]'),
    (
        "eval_dataset.fraction",
        "needs the number of rows, which is unknown for a streamed dataset",
        'eval_dataset=[hft.Dataset(id="a/b", streaming=True), hft.Dataset(id="c/d", streaming=True)]',
    ),
]
