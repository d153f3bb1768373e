from __future__ import annotations

BAD = {"dataloader_prefetch_factor": 4, "dataloader_persistent_workers": True}
GOOD = {"dataloader_prefetch_factor": 4, "dataloader_num_workers": 1}
EXPECTED = [
    ("dataloader_prefetch_factor", "there are no workers: dataloader_num_workers is 0", "dataloader_num_workers=2"),
    ("dataloader_persistent_workers", "there are no workers: dataloader_num_workers is 0", "dataloader_num_workers=2"),
]
