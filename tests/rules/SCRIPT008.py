from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script"}
GOOD = BAD
FACTS = Facts(script=ScriptFacts(text="import rewards\n", sha256="0" * 64, modules=("rewards", "trl")))
GOOD_FACTS = Facts(script=ScriptFacts(text="import trl\n", sha256="0" * 64, modules=("trl",)))
EXPECTED = [
    (
        "script",
        "imports rewards, a module beside the script, which does not travel: move its code into the script",
        "",
    )
]
