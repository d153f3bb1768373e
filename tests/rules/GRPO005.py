from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True}
GOOD = {"method": "grpo"}
EXPECTED = [
    ("use_vllm", "not yet: no tested set of packages has vLLM; transformers generates the answers", "leave it out"),
]
