from __future__ import annotations

BAD = {"method": "ppo", "stop_token": "eos", "stop_token_id": 2}
GOOD = {"method": "ppo", "stop_token": "eos"}
EXPECTED = [("stop_token_id", "stop_token is also given", "stop_token_id=None")]
