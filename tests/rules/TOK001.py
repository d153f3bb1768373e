from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, TemplateFacts

SEEN = TemplateFacts(rendered=64, made_with=RenderedWith("labels"), talks=64, has_template=True)
BAD = {"dataset": "me/data", "eos_token": "<|eot_id|>", "pad_token": "<pad>"}
GOOD = {"dataset": "me/data", "eos_token": "<|im_end|>"}
FACTS = Facts(template=replace(SEEN, not_in_vocabulary=("<|eot_id|>", "<pad>"), turn_end="<|im_end|>"))
GOOD_FACTS = Facts(template=SEEN)
EXPECTED = [
    ("eos_token", '"<|eot_id|>" is not in the vocabulary of me/model', 'eos_token="<|im_end|>"'),
    ("pad_token", '"<pad>" is not in the vocabulary of me/model', "pad_token=None"),
]
