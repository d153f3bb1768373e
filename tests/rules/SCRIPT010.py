from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script", "namespace": "me"}
GOOD = BAD
_TEXT = 'load_dataset("json", data_files="train.jsonl")\n'
FACTS = Facts(script=ScriptFacts(text=_TEXT, sha256="0" * 64, reads={"train.jsonl": "/home/me/train.jsonl"}))
GOOD_FACTS = Facts(script=ScriptFacts(text=_TEXT, sha256="0" * 64))
EXPECTED = [
    (
        "script",
        "reads train.jsonl, which is on this machine and does not travel: read it from the Hub",
        "hf upload me/train /home/me/train.jsonl --repo-type dataset --private",
    )
]
