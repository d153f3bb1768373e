from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts, RenderedWith, TemplateFacts

SEEN = TemplateFacts(
    rendered=64,
    made_with=RenderedWith("labels"),
    talks=64,
    has_template=True,
    eos_token="<|endoftext|>",
    stops=("<|endoftext|>",),
    specials=("<|im_start|>", "<|im_end|>"),
    turn_end="<|im_end|>",
)
BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
FACTS = Facts(template=SEEN)
GOOD_FACTS = Facts(template=replace(SEEN, stops=("<|im_end|>", "<|endoftext|>")))
EXPECTED = [
    (
        "eos_token",
        (
            'no trained token is "<|endoftext|>", with which the model is saved as its end of sequence: turns end with '
            '"<|im_end|>", and the model would not stop'
        ),
        'eos_token="<|im_end|>"',
    )
]
