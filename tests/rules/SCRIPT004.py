from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script"}
GOOD = {"method": "script", "extra_dependencies": ["trl==1.16.0"]}
FACTS = Facts(script=ScriptFacts(text="import trl\n", sha256="0" * 64))
EXPECTED = [
    (
        "extra_dependencies",
        "the script has no `# /// script` header, so it would run without any package",
        'extra_dependencies=["trl==1.16.0"]',
    ),
]
UNCHECKED = "the script"
