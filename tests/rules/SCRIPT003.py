from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script"}
GOOD = BAD
FACTS = Facts(script=ScriptFacts(text="<!doctype html>\n", sha256="0" * 64))
GOOD_FACTS = Facts(script=ScriptFacts(text="# /// script\n# dependencies = []\n# ///\nprint(1)\n", sha256="0" * 64))
EXPECTED = [("script", "is a web page: give the URL of the file itself", "")]
UNCHECKED = "the script"
