from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script", "sha256": "1" * 64}
GOOD = {"method": "script", "sha256": "0" * 64}
FACTS = Facts(script=ScriptFacts(text="print(1)\n", sha256="0" * 64))
EXPECTED = [
    ("sha256", f"the script's digest is {'0' * 64}", f'read it again, then sha256="{"0" * 64}"'),
]
UNCHECKED = "the script"
