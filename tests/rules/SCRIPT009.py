from __future__ import annotations

from hfjobs_trainer.facts import Facts, ScriptFacts

BAD = {"method": "script"}
GOOD = BAD
_CALL = "SFTTrainer(model, tokenizer=tokenizer, args=SFTConfig(max_seq_length=512, learning_rate=1e-5))\n"
FACTS = Facts(script=ScriptFacts(text=_CALL, sha256="0" * 64))
_EARLIER = '# /// script\n# dependencies = ["trl==0.12.0"]\n# ///\n'
GOOD_FACTS = Facts(script=ScriptFacts(text=_EARLIER + _CALL, sha256="0" * 64))
EXPECTED = [
    ("script", "line 1: SFTTrainer(tokenizer=...): it is processing_class today", ""),
    ("script", "line 1: SFTConfig(max_seq_length=...): it is max_length today", ""),
]
