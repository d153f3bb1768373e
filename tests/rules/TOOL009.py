from __future__ import annotations

import hashlib
from importlib.resources import files

from hfjobs_trainer.facts import Facts, ModelFacts


class Maze:
    def reset(self, **kwargs): ...

    def look(self) -> str:
        """Look around."""
        return "walls"


def _known(template: str) -> Facts:
    digest = hashlib.sha256(template.encode()).hexdigest()
    return Facts(model=ModelFacts(exists=True, has_chat_template=True, template_digest=digest, reads_answers=False))


BAD = {"method": "grpo", "environment_factory": Maze}
GOOD = {"method": "grpo", "environment_factory": Maze}
FACTS = _known("{{ messages }}")
GOOD_FACTS = _known(files("trl").joinpath("chat_templates/qwen3.jinja").read_text(encoding="utf-8"))
UNCHECKED = "the chat template of me/model"
EXPECTED = [
    (
        "model",
        "TRL cannot read calls from answers in the chat template of me/model, only in those of deepseek, gemma4, "
        "glm4moe, gptoss, lfm2, llama3, nemotron, qwen2, qwen3: take another model, or name in processing_class a "
        "tokenizer of the same tokens with one of these, or with response_template",
        "",
    )
]
