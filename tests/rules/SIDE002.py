from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"method": "ppo", "value_model": "me/value"}
GOOD = {"method": "ppo"}
FACTS = Facts(
    model=ModelFacts(vocab_size=151936),
    reward_model=ModelFacts(vocab_size=151936),
    value_model=ModelFacts(vocab_size=128100),
)
UNCHECKED = "the vocabulary of me/model"
EXPECTED = [
    (
        "value_model",
        (
            "me/value has a vocabulary of 128100 tokens, me/model one of 151936: one that hft.Reward trains from "
            "me/model shares it"
        ),
        "",
    )
]
