from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, RowFinding, TemplateFacts

SEEN = TemplateFacts(rendered=64, made_with=RenderedWith("labels"), talks=64, has_template=False)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
MARKERS = ("<|eot_id|>", "<|start_header_id|>")
FACTS = Facts(template=replace(SEEN, markers=MARKERS, findings=(RowFinding("no template", 0, 64),)))
GOOD_FACTS = Facts(template=replace(SEEN, talks=0))
EXPECTED = [
    (
        "chat_template_path",
        "me/model has no chat template, and the rows of me/data are conversations",
        'chat_template_path="meta-llama/Llama-3.2-1B-Instruct"',
    )
]
