from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script", "script": "https://example.com/train.py"}
GOOD = BAD
FACTS = Facts(script=ScriptFacts(problem="HTTP status 404"))
GOOD_FACTS = Facts(script=ScriptFacts(text="print(1)\n", sha256="0" * 64))
EXPECTED = [("script", "https://example.com/train.py cannot be read: HTTP status 404", "")]
UNCHECKED = "the script"
