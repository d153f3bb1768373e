from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script", "script_args": ["--beta", "0"]}
GOOD = {"method": "script", "script_args": ["--beta", "0", "--report_to", "trackio"]}
FACTS = Facts(script=ScriptFacts(text="from trl import TrlParser\n", sha256="0" * 64))
EXPECTED = [
    ("script_args", "the script would not report to trackio", 'script_args=["--beta", "0", "--report_to", "trackio"]')
]
UNCHECKED = "the script"
