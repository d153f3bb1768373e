from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"method": "ppo", "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "hardware": "a10g-large"}
GOOD = {"method": "ppo", "per_device_train_batch_size": 8, "hardware": "a10g-large"}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt",), num_rows=20, splits=("train",)))
UNCHECKED = "the number of rows of me/data"
EXPECTED = [("dataset", "20 rows do not fill a batch of 32", "per_device_train_batch_size=5")]
