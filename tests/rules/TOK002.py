from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, RowFinding, TemplateFacts

SEEN = TemplateFacts(rendered=64, made_with=RenderedWith("labels"), talks=0)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FACTS = Facts(template=replace(SEEN, markers=("</s>",), findings=(RowFinding("no end", 0, 64),)))
GOOD_FACTS = Facts(template=replace(SEEN, eos_token="</s>"))
EXPECTED = [
    (
        "eos_token",
        "the tokenizer of me/model has no EOS token, with which each text is to end",
        'eos_token="</s>"',
    )
]
