from __future__ import annotations

BAD = {"labels": {"model": "Qwen/Qwen2.5-0.5B", "my.key": "x", "spec": "mine"}}
GOOD = {"labels": {"model": "Qwen-Qwen2-5-0-5B"}}
EXPECTED = [
    (
        "labels.model",
        'the value "Qwen/Qwen2.5-0.5B" may have letters, digits, - and _ only, 100 at most',
        'labels={"model": "Qwen-Qwen2-5-0-5B", "my-key": "x", "my-spec": "mine"}',
    ),
    (
        "labels",
        'the key "my.key" may have letters, digits, - and _ only, 100 at most',
        'labels={"model": "Qwen-Qwen2-5-0-5B", "my-key": "x", "my-spec": "mine"}',
    ),
    (
        "labels",
        'the label "spec" is set by this package',
        'labels={"model": "Qwen-Qwen2-5-0-5B", "my-key": "x", "my-spec": "mine"}',
    ),
]
