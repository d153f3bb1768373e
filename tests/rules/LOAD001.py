from __future__ import annotations

BAD = ("missing.yaml", None)
GOOD = ("spec.yaml", "method: sft\nmodel: me/model\ndataset: me/data\nlearning_rate: 2e-5\n")
EXPECTED = [("", "missing.yaml cannot be read: No such file or directory", "")]
