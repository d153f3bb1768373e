from __future__ import annotations

BAD = ("trl sft sft.yaml --model_name_or_path me/model --dataset_name me/data", None)
GOOD = ("trl sft --model_name_or_path me/model --dataset_name me/data", None)
EXPECTED = [("", "'sft.yaml' stands before the first --argument: remove it", "")]
