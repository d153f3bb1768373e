from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script", "script_args": ["--config", "config.yaml", "--data", "data.csv"]}
GOOD = {"method": "script", "script_args": ["--data", "me/data"]}
FACTS = Facts(
    script=ScriptFacts(
        text="print(1)\n",
        sha256="0" * 64,
        local_files={"config.yaml": "/home/me/config.yaml", "data.csv": "/home/me/data.csv"},
    )
)
EXPECTED = [
    (
        "script_args",
        "config.yaml is a file on this machine, which the job would not have: give its settings as arguments",
        "",
    ),
    ("script_args", "data.csv is a file on this machine, which the job would not have: give it from the Hub", ""),
]
UNCHECKED = "the script"
