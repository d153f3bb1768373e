from __future__ import annotations

BAD = {"env": {"HFT_TIMEOUT": "3600", "HFT_BUCKET": "me/mine", "HFT_NUM_PROCESSES": "2"}}
GOOD = {"env": {"HFT_NUM_PROCESSES": "2", "HFT_FLUSH_SECONDS": "60"}}
EXPECTED = [
    (
        "env",
        "HFT_BUCKET, HFT_TIMEOUT: set by submit, as timeout and output.checkpoints say; another value is in the way",
        'env={"HFT_NUM_PROCESSES": "2"}',
    )
]
