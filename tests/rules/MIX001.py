from __future__ import annotations

BAD = {"dataset": [{"id": "a/b", "fraction": 0.5}, "c/d"], "eval_dataset": {"id": "a/b", "fraction": 0.5}}
GOOD = {"dataset": [{"id": "a/b", "fraction": 0.5}, {"id": "c/d", "fraction": 0.5}], "eval_dataset": ["a/b", "c/d"]}
EXPECTED = [
    ("dataset.fraction", "is set for some datasets of the mixture, but not for c/d", 'dataset=["a/b", "c/d"]'),
    (
        "eval_dataset.fraction",
        "is a share of a mixture, and there is only one dataset; num_samples takes the first rows",
        'eval_dataset="a/b"',
    ),
]
