from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script", "sha256": "1" * 64}
GOOD = {"method": "script", "sha256": "0" * 64}
FACTS = Facts(script=ScriptFacts(text="print(1)\n", sha256="0" * 64))
EXPECTED = [
    (
        "sha256",
        "the script's digest is 0000000000000000000000000000000000000000000000000000000000000000: read it again",
        'sha256="0000000000000000000000000000000000000000000000000000000000000000"',
    )
]
UNCHECKED = "the script"
